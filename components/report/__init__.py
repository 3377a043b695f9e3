"""What happened, as a page for people and a file for scripts."""
