"""From a challenger to a served champion, through the gates."""
