"""Costs: what an architecture takes of a machine."""
