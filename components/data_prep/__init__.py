"""From a source to typed, split, encoded data with a reference profile."""
