"""What has to be light stays light, each in a fresh process."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

HEAVY = {"torch", "ray", "mlflow", "kfp", "pandas", "sklearn", "scipy", "onnxruntime"}


def loaded(*arguments: str) -> set[str]:
    """Return the packages that `python ARGUMENTS` imports."""
    command = [sys.executable, "-X", "importtime", *arguments]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return set(re.findall(r"^import time:[^|]*\|[^|]*\|\s*([A-Za-z0-9_]+)", told, re.MULTILINE))


@pytest.mark.parametrize(
    "module",
    [
        "nas_core",
        "nas_core.interfaces",
        "nas_core.registry",
        "nas_core.study",
        "components.spec_file",
        "components.audit",
        "components.backends.mirror",
        "components.run",
        "pipelines.cli",
    ],
)
def test_a_module_that_everybody_imports_loads_nothing_heavy(module: str) -> None:
    found = loaded("-c", f"import {module}")
    assert module.partition(".")[0] in found
    assert found & HEAVY == set()


def test_help_loads_nothing_heavy() -> None:
    found = loaded("-m", "pipelines.cli", "--help")
    assert "typer" in found
    assert found & HEAVY == set()
