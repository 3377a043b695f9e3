"""Estimators: what an architecture is worth, and how much it costs to know."""
