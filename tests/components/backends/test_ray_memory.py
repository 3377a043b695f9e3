"""Data lies in memory once a machine, however many trials and workers there are."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from components.backends.ray_cluster import connected
from nas_core.interfaces import Rung, Session
from nas_core.types import Budget, Trial
from tests.components.backends.ray_running import run_rungs

MB = 10**6
SIZE = 160 * MB


@pytest.fixture(scope="module", autouse=True)
def connection(cluster: str) -> Iterator[None]:
    """One connection for all tests; `auto` finds it."""
    with connected(cluster):
        yield


def holder(cheap: bool) -> Any:
    """Return an estimator with a large array, which tells what its process has to itself after reading all of it."""

    def private() -> float:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return 1000.0 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    class Holder:
        def __init__(self) -> None:
            self.array = np.ones(SIZE, np.uint8)

        def figures(self) -> Mapping[str, float]:
            total = sum(int(part.sum()) for part in np.split(self.array, 16))
            assert total == SIZE
            return {"accuracy": 0.5, "private": private(), "process": float(os.getpid())}

    class One(Holder):
        def estimate(self, _trial: Trial, _session: Session) -> Mapping[str, float]:
            return self.figures()

    class Many(Holder):
        batch = 1

        def estimate_batch(self, trials: Sequence[Trial]) -> list[Mapping[str, float]]:
            return [self.figures() for _ in trials]

    return Many() if cheap else One()


def stored() -> float:
    """Return how many bytes of the object store are taken."""
    return float(ray.cluster_resources()["object_store_memory"] - ray.available_resources()["object_store_memory"])


@pytest.mark.parametrize("cheap", [True, False])
def test_memory_grows_neither_with_workers_nor_with_trials(studies: Any, tmp_path: Path, cheap: bool) -> None:
    study = studies.open()
    run_rungs(study, [Rung(1.0, holder(cheap))], tmp_path, Budget(trials=2))
    run_rungs(study, [Rung(1.0, holder(cheap))], tmp_path, Budget(trials=30))
    trials = [dict(trial.metrics or {}) for trial in study.history]
    few = max(trial["private"] for trial in trials[:2])
    many = max(trial["private"] for trial in trials[-10:])
    assert many / few < 1.25
    # A copy would be in the process's own memory, whose other contents (the interpreter, numpy) take less than this.
    assert many < SIZE
    assert len({trial["process"] for trial in trials[2:]}) >= 2
    gc.collect()
    assert stored() < 3 * SIZE  # one copy a search, and the search before may not be collected yet
