"""The audit of a challenger on rows that nothing before has seen."""
