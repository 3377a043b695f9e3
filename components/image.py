"""The container image that a step runs in."""

import os
from importlib.metadata import version

IMAGE = os.environ.get("EVERNAS_IMAGE", f"evernas:{version('evernas')}")
