"""What a cycle was run with: versions and machine, for whoever wants to know why a year later."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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

    Packages that are not installed are left out; `image` is the container's name, empty outside of one; `code` is the
    digest of evernas' own source, so that a change between two releases shows.
    """
    found = {name: _version(name) for name in PACKAGES}
    return {
        "evernas": _version("evernas"),
        "code": code_digest(),
        "image": os.environ.get("EVERNAS_IMAGE", ""),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count() or 0,
        **{name: v for name, v in found.items() if v},
    }


@cache
def code_digest() -> str:
    """Return the SHA-256 over names and bytes of all modules of evernas, in the order of their names."""
    root, digest = Path(__file__).resolve().parent.parent, hashlib.sha256()
    for package in ("components", "nas_core", "pipelines"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
