"""From prepared data to the best architecture."""
