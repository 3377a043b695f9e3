"""A space in a package of its own is found by its entry point, and is in the conformance suite with no line here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example installed, for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(EXAMPLE, folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation"]
    subprocess.run([*pip, "--no-deps", "--target", folder / "site", source], check=True)
    return folder / "site"


def run_with(site: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


def test_the_example_passes_the_conformance_suite_once_it_is_installed(site: Path) -> None:
    suite = [Path(__file__).with_name(name) for name in ("test_spaces.py", "test_strategies.py")]
    result = run_with(site, "-m", "pytest", "-p", "no:cacheprovider", "-k", "cross-network", "-rA", *suite)
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("PASSED") >= 10


def test_the_script_in_its_readme_runs(site: Path) -> None:
    script = re.search("```python\n(.*?)```", (EXAMPLE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert script
    data = """
import numpy as np
from nas_core import Port, Signature
ports = (Port(name="numeric", shape=(3,)),), (Port(name="target", shape=(2,), classes=2),)
signature = Signature(inputs=ports[0], outputs=ports[1])
inputs = more_inputs = (np.zeros((20, 3), np.float32),)
classes = more_classes = np.arange(20) % 2
"""
    result = run_with(site, "-c", f"{data}\n{script[1]}\nassert len(study.history) == 8")
    assert result.returncode == 0, result.stderr


def test_a_taken_name_is_refused(site: Path, tmp_path: Path) -> None:
    """A package that calls its space `chain` must not change what a spec means."""
    shutil.copytree(site, tmp_path / "site")
    (entry_points,) = (tmp_path / "site").glob("*.dist-info/entry_points.txt")
    entry_points.write_text(entry_points.read_text().replace("cross-network =", "chain ="))
    result = run_with(tmp_path / "site", "-c", "from nas_core import registry; registry.names('spaces')")
    taken = "the name 'chain' of evernas_cross_network:CrossNetwork is taken by nas_core.spaces.chain:Chain"
    assert taken in result.stderr
