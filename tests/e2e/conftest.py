"""The command line as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Evernas = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of commands: a signing key and anchors of their own, one thread a process."""
    own = tmp_path_factory.mktemp("own")
    places = {"EVERNAS_SIGNING_KEY": str(own / "signing.pem"), "EVERNAS_ANCHORS": str(own / "anchors")}
    return {**os.environ, **places, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def evernas(environment: dict[str, str]) -> Evernas:
    """Runs `evernas ARGUMENTS` and returns what came of it."""

    def call(*arguments: object, cwd: Path = ROOT, timeout: float = 500) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipelines.cli", *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    return call
