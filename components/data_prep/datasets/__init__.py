"""Data sets that evernas ships, with their origin in README.md."""
