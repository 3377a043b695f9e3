"""From the best architecture to a trained challenger."""
