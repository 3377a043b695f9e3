"""Tasks: prepared data as batches, a loss and metrics."""
