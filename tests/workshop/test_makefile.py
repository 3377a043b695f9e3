"""The Makefile explains itself and does nothing twice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(folder: Path, *arguments: str) -> str:
    """Run make in `folder`, free of what a make around the tests has put into the environment."""
    environment = {key: value for key, value in os.environ.items() if key not in {"MAKEFLAGS", "MAKELEVEL", "VENV"}}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that setting up depends on, and an environment that was just made from them."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("bin/python", ".installed"):
        path = tmp_path / ".venv" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_make_alone_lists_every_target_with_what_it_does() -> None:
    phony = re.findall(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    targets = {name for line in phony for name in line.split()}
    listed = re.findall(r"^make ([a-z-]+) +\S", make(ROOT), re.MULTILINE)
    assert sorted(listed) == sorted(targets)


def test_setting_up_again_does_nothing(checkout: Path) -> None:
    assert "Nothing to be done" in make(checkout, "setup")


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_changed_dependency_is_installed_again(checkout: Path, changed: str) -> None:
    newer = (checkout / ".venv/.installed").stat().st_mtime + 10
    os.utime(checkout / changed, (newer, newer))
    assert "pip install" in make(checkout, "--dry-run", "setup")
