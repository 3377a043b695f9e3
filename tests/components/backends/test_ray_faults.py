"""Attempts that end without an outcome, or too late: what they are called, and whether they run again."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from components.backends import ray_searcher
from components.backends.ray_cluster import connected
from components.backends.ray_faults import Faults, fault
from components.backends.ray_places import Places
from nas_core.history import History
from nas_core.interfaces import Rung, Session
from nas_core.ledger import Ledger
from nas_core.runner import LocalRunner
from nas_core.stoppers.median import Median
from nas_core.store import FolderStore
from nas_core.types import Budget, Status, Trial
from tests.components.backends.conftest import OBJECTIVES
from tests.components.backends.ray_running import one_by_one, run, spec

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", autouse=True)
def ray(cluster: str) -> Iterator[None]:
    """One connection for all tests; `auto` finds it."""
    with connected(cluster):
        yield


# ---------------------------------------------------------------- what Ray says

STARVED = (
    "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 127.0.0.1, ID: 35e0) was "
    "3.28GB used / 23.54GB limit (0.139437) OOM kill reason: Memory usage 3505852416B exceeded threshold of 3465348352B"
)
NODE = "The actor died unexpectedly before finishing this task. The actor is dead because its node has died. Node Id: 1"
SILENT = (
    "The actor 1220ba40c917bf0f9db9c9ae01000000 is unavailable: The actor is temporarily unavailable: RpcError: RPC "
    "error: Socket closed rpc_code: 14. The task may or may not have been executed on the actor."
)
KILLED = "The worker died unexpectedly while executing this task. Check python-core-worker-*.log files"


@pytest.mark.parametrize(
    ("told", "status", "reason"),
    [
        (STARVED, Status.INFEASIBLE, "oom: 1 worker(s) were killed due to the node running low on memory"),
        (NODE, Status.LOST, f"node: {NODE}"),
        (SILENT, Status.LOST, f"node: {SILENT}"),
        (KILLED, Status.LOST, f"worker: {KILLED}"),
        ("", Status.LOST, "worker: it ended without an outcome"),
    ],
)
def test_a_fault_has_the_code_that_rays_words_mean(told: str, status: Status, reason: str) -> None:
    assert (fault(told).status, fault(told).reason) == (status, reason)


def test_what_was_killed_for_memory_runs_once_more_alone_and_is_then_infeasible(studies: Any) -> None:
    """The first time a neighbour may have been at fault; this cluster has no other machine."""
    study = studies.open()
    faults = Faults(study, 3, Places(spec()))
    [trial] = study.ask(1)
    assert not faults.alone(trial.number)
    faults.lost(trial.number, STARVED, 1.0)
    assert faults.alone(trial.number)
    assert [again.attempt for again in study.ask(1)] == [1]
    faults.lost(trial.number, KILLED, 1.0)  # another fault counts apart
    assert [again.attempt for again in study.ask(1)] == [2]
    faults.lost(trial.number, STARVED, 1.0)
    assert study.history[0].status is Status.INFEASIBLE
    assert study.history[0].error.startswith("oom: ")
    assert study.history[0].cost_seconds == 3.0


def test_without_retries_memory_is_not_asked_for_twice(studies: Any) -> None:
    study = studies.open()
    faults = Faults(study, 0, Places(spec()))
    faults.lost(study.ask(1)[0].number, STARVED, 1.0)
    assert study.history[0].status is Status.INFEASIBLE


# ---------------------------------------------------------------- too late


def test_a_trial_that_takes_too_long_fails_and_its_process_serves_the_next(studies: Any, tmp_path: Path) -> None:
    def estimate(trial: Trial, _session: Session) -> Mapping[str, float]:
        while trial.number == 1:
            time.sleep(0.01)
        return {"accuracy": 0.5, "process": float(os.getpid())}

    study = studies.open()
    run(study, estimate, tmp_path, Budget(trials=3), max_concurrent=1, timeout_seconds=1)
    assert [trial.status for trial in study.history] == [Status.OK, Status.FAILED, Status.OK]
    assert study.history[1].error == "timeout: took more than 1 s"
    assert study.history[1].attempt == 0
    assert study.history[0].metrics == study.history[2].metrics


def test_a_trial_that_hangs_outside_of_python_is_ended_by_the_driver(
    studies: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_searcher, "_LEAST_GRACE", 1.0)

    def estimate(trial: Trial, _session: Session) -> Mapping[str, float]:
        if trial.number == 0:
            (tmp_path / "process").write_text(str(os.getpid()))
            ctypes.PyDLL(None).sleep(60)  # holds the interpreter's lock, so that nothing in the process can end it
        return {"accuracy": 0.5}

    study = studies.open()
    run(study, estimate, tmp_path, Budget(trials=2), max_concurrent=1, timeout_seconds=1)
    assert [trial.status for trial in study.history] == [Status.FAILED, Status.OK]
    assert study.history[0].error == "timeout: took more than 1 s, and hung"
    assert study.history[0].attempt == 0
    process = Path("/proc", (tmp_path / "process").read_text(), "stat")
    assert not process.exists() or process.read_text().rpartition(")")[2].split()[0] == "Z"


# ---------------------------------------------------------------- too bad


def test_a_stopper_answers_the_same_in_process_and_on_ray(new_studies: Any, tmp_path: Path) -> None:
    def estimate(trial: Trial, session: Session) -> Mapping[str, float]:
        value = 0.0
        for step in range(1, 5):
            value = (trial.number * 7 % 5) * step / 20
            if session.report(step, {"accuracy": value}):
                break
        return {"accuracy": value}

    courses = []
    for on_ray in (False, True):
        study = new_studies().open(stopper=Median(OBJECTIVES))
        if on_ray:
            run(study, estimate, tmp_path, Budget(trials=10), max_concurrent=1)
        else:
            LocalRunner(tmp_path, device="cpu").run(study, [Rung(1.0, one_by_one(estimate))], Budget(trials=10))
        courses.append([(trial.status, trial.curve, trial.metrics) for trial in study.history])
    assert courses[0] == courses[1]
    assert {status for status, _, _ in courses[1]} == {Status.OK, Status.PRUNED}


# ---------------------------------------------------------------- a driver within a job

DRIVER = """
import sys
from pathlib import Path
from components.backends.ray_tune import RayRunner
from components.spec import RayRunnerSpec
from nas_core.interfaces import Rung
from nas_core.ledger import Ledger
from nas_core.store import FolderStore
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.types import Budget, Decision, Objective

class Space:
    decisions = (Decision(name="depth", options=tuple(map(str, range(100)))),)

def main():
    class Quick:
        def estimate(self, trial, session):
            import ray
            return {"accuracy": 0.5, "gpus": ray.cluster_resources()["GPU"]}

    folder, objectives = Path(sys.argv[1]), (Objective(metric="accuracy", goal="max"),)
    study = LedgerStudy(Ledger(FolderStore(folder)), Space(), objectives, Random(Space(), objectives, 0))
    spec = RayRunnerSpec(kind="ray", address="auto")
    RayRunner(spec, folder, "cycle").run(study, [Rung(1.0, Quick())], Budget(trials=2))

main()
"""


def test_a_search_within_a_job_of_the_cluster_joins_it(cluster: str, tmp_path: Path) -> None:
    """Ray gives a job's process the address of its cluster, and nothing else that a search needs."""
    environment = {**os.environ, "RAY_ADDRESS": cluster, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-c", DRIVER, tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    trials = History(Ledger(FolderStore(tmp_path)).entries()).trials
    assert [trial.metrics for trial in trials] == [{"accuracy": 0.5, "gpus": 1.0}] * 2
