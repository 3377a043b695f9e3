"""The systems outside: Ray Tune, MLflow, storage, signing."""
