"""Search spaces: each a list of decisions and a `build`."""
