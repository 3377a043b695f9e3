"""Studies to run and to mirror, and what is slow to make: MLflow's tables, and a Ray cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import components.backends  # noqa: F401  its settings have to be there before a test imports Ray
from nas_core.ledger import Ledger
from nas_core.store import MemoryStore
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.types import Architecture, Decision, Objective

OBJECTIVES = (Objective(metric="accuracy", goal="max"),)


class Space:
    """Three architectures for each of some options; nobody builds them."""

    def __init__(self, options: int) -> None:
        depth = Decision(name="depth", options=tuple(map(str, range(options))))
        self.decisions = (depth, Decision(name="width [units]", options=("8", "16", "32")))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


class Studies:
    """Opens studies on one ledger."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def open(self, *, options: int = 30, **more: Any) -> LedgerStudy:
        space = Space(options)
        return LedgerStudy(Ledger(self.store), space, OBJECTIVES, Random(space, OBJECTIVES, 0), **more)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.store)

    @staticmethod
    def names(architecture: Architecture) -> tuple[str, dict[str, str]]:
        depth, width = architecture
        return f"id-{depth}-{width}", {"depth": str(depth), "width [units]": ("8", "16", "32")[width]}

    @staticmethod
    def play(study: LedgerStudy, count: int, epochs: int = 2) -> Sequence[int]:
        """Run `count` trials to their ends, by hand."""
        numbers = []
        for trial in study.ask(count):
            for step in range(1, epochs + 1):
                study.report(trial.number, step, {"accuracy": step / 10, "loss": 1 / step})
            study.tell(trial.number, {"accuracy": epochs / 10, "params": 7.0}, 0.25)
            numbers.append(trial.number)
        return numbers


@pytest.fixture
def studies() -> Studies:
    return Studies()


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database."""
    from components.backends.mlflow_tracking import Tracker
    from components.spec import TrackingSpec

    root = tmp_path_factory.mktemp("mlflow")
    Tracker(TrackingSpec(), root, "Default", "none").parent  # noqa: B018  making it is the point
    return root / "mlflow.db"


@pytest.fixture
def root(tables: Path, tmp_path: Path) -> Path:
    """A folder of runs with a database of its own."""
    shutil.copy(tables, tmp_path / "mlflow.db")
    return tmp_path


# ---------------------------------------------------------------- Ray

_HEAD = """
import components.backends, sys, ray
ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, logging_level="ERROR", _temp_dir=sys.argv[1])
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a running Ray cluster of one machine: 2 CPUs and, as far as Ray knows, a GPU."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        # Workers have the environment of their cluster. Ray reads its own once, so a token would come too late here.
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "TUNE_FUNCTION_THREAD_TIMEOUT_S": "1"}
        head = subprocess.Popen(
            [sys.executable, "-c", _HEAD, folder],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert head.stdin
        assert head.stdout
        try:
            address = head.stdout.readline().strip()
            patch.setenv("RAY_ADDRESS", address)
            yield address
        finally:
            head.stdin.close()
            head.wait()
            head.stdout.close()


@pytest.fixture(scope="session")
def new_studies() -> type[Studies]:
    return Studies
