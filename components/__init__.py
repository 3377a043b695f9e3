"""Pipeline stages, one folder a container stage, and the outside systems in `backends`."""
