"""What a cycle was run with: versions and machine, for whoever wants to know why a year later."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "ray",
    "mlflow",
    "kfp",
    "onnx",
    "onnxruntime",
    "fairlearn",
)


def environment() -> dict[str, str | int]:
    """Return the versions of Python, of evernas and of the libraries that decide results, and the machine.

    Packages that are not installed are left out; `image` is the container's name, empty outside of one.
    """
    found = {name: _version(name) for name in PACKAGES}
    return {
        "evernas": _version("evernas"),
        "image": os.environ.get("EVERNAS_IMAGE", ""),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count() or 0,
        **{name: v for name, v in found.items() if v},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
