"""Strategies: each one `propose`, pure in the history."""
