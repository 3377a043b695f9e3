"""The cheap lane: chunks as tasks, alone or beside trainings under Tune."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from components.backends.ray_cluster import connected
from nas_core.errors import FencedError, InputError
from nas_core.interfaces import Rung, Session
from nas_core.ledger import Ledger
from nas_core.store import MemoryStore
from nas_core.strategies.hyperband import Hyperband
from nas_core.study import LedgerStudy
from nas_core.types import Budget, Failure, Proposal, Status, Trial
from tests.components.backends.conftest import OBJECTIVES, Space
from tests.components.backends.ray_running import cheap, one_by_one, run_rungs


@pytest.fixture(scope="module", autouse=True)
def ray(cluster: str) -> Iterator[None]:
    """One connection for all tests; `auto` finds it."""
    with connected(cluster):
        yield


def measured(trials: Sequence[Trial]) -> list[Mapping[str, float]]:
    return [{"accuracy": trial.architecture[0] / 100, "process": float(os.getpid())} for trial in trials]


def test_chunks_run_in_workers_and_each_is_one_commit(studies: Any, tmp_path: Path) -> None:
    study = studies.open()
    run_rungs(study, [Rung(1.0, cheap(measured, 8))], tmp_path, Budget(trials=36))
    assert len(study.history) == 36
    for trial in study.history:
        assert trial.status is Status.OK
        assert trial.metrics
        assert trial.metrics["accuracy"] == trial.architecture[0] / 100
        assert trial.metrics["process"] != os.getpid()
    outcomes = [(entry.time, entry.data["number"]) for entry in studies.ledger.entries({"outcome"})]
    assert sorted(len(list(commit)) for _, commit in groupby(outcomes, lambda outcome: outcome[0])) == [4, 8, 8, 8, 8]
    assert list(tmp_path.iterdir()) == []  # Tune was not there


def test_several_chunks_run_at_a_time_and_no_more_than_allowed(studies: Any, tmp_path: Path) -> None:
    def noted(trials: Sequence[Trial]) -> list[Mapping[str, float]]:
        mark = tmp_path / f"chunk-{trials[0].number}"
        mark.touch()
        time.sleep(0.3)
        running = len(list(tmp_path.glob("chunk-*")))
        mark.unlink()
        return [{"accuracy": 0.5, "running": float(running)} for _ in trials]

    for allowed, folder in ((1, "one"), (2, "two")):
        study = LedgerStudy(Ledger(MemoryStore()), Space(30), OBJECTIVES, studies.open()._strategy)
        run_rungs(study, [Rung(1.0, cheap(noted, 2))], tmp_path / folder, Budget(trials=12), max_concurrent=allowed)
        assert max(trial.metrics["running"] for trial in study.history if trial.metrics) == allowed


def test_one_that_fails_spoils_no_other_and_costs_are_shares_of_the_chunk(studies: Any, tmp_path: Path) -> None:
    def sometimes(trials: Sequence[Trial]) -> list[Mapping[str, float] | Failure]:
        time.sleep(0.02 * len(trials))
        if any(trial.number == 3 for trial in trials):
            raise ZeroDivisionError("no such luck")
        return [{"accuracy": 0.5} for _ in trials]

    study = studies.open()
    run_rungs(study, [Rung(1.0, cheap(sometimes, 4))], tmp_path, Budget(trials=8))
    assert [trial.status for trial in study.history] == [Status.OK] * 3 + [Status.FAILED] + [Status.OK] * 4
    assert study.history[3].error == "error: ZeroDivisionError: no such luck"
    assert all(trial.cost_seconds >= 0.02 for trial in study.history)


def test_one_that_kills_its_worker_takes_no_other_with_it(studies: Any, tmp_path: Path) -> None:
    def deadly(trials: Sequence[Trial]) -> list[Mapping[str, float]]:
        if any(trial.number == 2 for trial in trials):
            os.kill(os.getpid(), signal.SIGKILL)
        return measured(trials)

    study = studies.open()
    run_rungs(study, [Rung(1.0, cheap(deadly, 4))], tmp_path, Budget(trials=8), retries=1, max_concurrent=1)
    statuses = [trial.status for trial in study.history]
    assert statuses == [Status.OK] * 2 + [Status.LOST] + [Status.OK] * 5
    assert study.history[2].error.startswith("worker: The worker died unexpectedly")
    assert [trial.attempt for trial in study.history] == [1] * 4 + [0] * 4


class Patient:
    """Proposes three, and the next three when these have ended."""

    def propose(self, history: Sequence[Trial], n: int) -> Sequence[Proposal]:
        if any(trial.status is Status.PENDING for trial in history) or len(history) >= 12:
            return []
        first = len(history)
        fidelities = (0.5, 0.5, 1.0)
        return [Proposal(architecture=(first + i, 0), fidelity=fidelities[i]) for i in range(min(n, 3))]


def slow(_trial: Trial, _session: Session) -> Mapping[str, float]:
    time.sleep(0.05)
    return {"accuracy": 0.9}


@pytest.mark.parametrize("mixed", [False, True])
def test_a_strategy_that_waits_for_its_trials_gets_them(tmp_path: Path, mixed: bool) -> None:
    study = LedgerStudy(Ledger(MemoryStore()), Space(30), OBJECTIVES, Patient())
    rungs = [Rung(0.5, cheap(measured, 4)), Rung(1.0, one_by_one(slow) if mixed else cheap(measured, 4))]
    run_rungs(study, rungs, tmp_path, Budget(trials=99), max_concurrent=1)
    assert study.exhausted
    assert [trial.status for trial in study.history] == [Status.OK] * 12


def test_both_lanes_work_at_the_same_time_under_one_study(tmp_path: Path) -> None:
    """A training that waits for cheap trials to be recorded can only end if these do meanwhile."""
    recorded = threading.Event()

    def note(trial: Trial) -> None:
        if trial.fidelity < 1 and trial.status is Status.OK and any(t.fidelity == 1 for t in study.history):
            (tmp_path / "cheap").touch()
            recorded.set()

    def waiting(_trial: Trial, _session: Session) -> Mapping[str, float]:
        deadline = time.monotonic() + 30
        while not (tmp_path / "cheap").exists():
            if time.monotonic() > deadline:
                raise RuntimeError("no cheap trial came")
            time.sleep(0.05)
        return {"accuracy": 0.9}

    class Alternating:
        def propose(self, history: Sequence[Trial], n: int) -> Sequence[Proposal]:
            first = len(history)
            both = range(first, min(first + n, 24))
            return [Proposal(architecture=(i, 0), fidelity=1.0 if i % 8 == 0 else 0.5) for i in both]

    study = LedgerStudy(Ledger(MemoryStore()), Space(30), OBJECTIVES, Alternating(), on_change=note)
    rungs = [Rung(0.5, cheap(measured, 4)), Rung(1.0, one_by_one(waiting))]
    run_rungs(study, rungs, tmp_path / "run", Budget(trials=24), max_concurrent=1)
    assert recorded.is_set()
    assert [trial.status for trial in study.history] == [Status.OK] * 24, study.history


def test_a_ladder_of_cheap_and_trained_rungs_ends_at_its_budget(tmp_path: Path) -> None:
    space = Space(30)
    strategy = Hyperband(space, OBJECTIVES, 0, eta=2, min_fidelity=0.25)
    study = LedgerStudy(Ledger(MemoryStore()), space, OBJECTIVES, strategy)
    rungs = [Rung(0.5, cheap(measured, 8)), Rung(1.0, one_by_one(slow))]
    run_rungs(study, rungs, tmp_path, Budget(trials=12))
    assert [trial.status for trial in study.history] == [Status.OK] * 12
    assert {trial.fidelity for trial in study.history} == {0.25, 0.5, 1.0}
    assert any("process" not in (trial.metrics or {}) for trial in study.history)  # Tune's


def test_a_second_writer_ends_the_search(studies: Any, tmp_path: Path) -> None:
    def intrude(trial: Trial) -> None:
        if trial.number == 11 and trial.status is Status.PENDING:
            Ledger(studies.store).append("intruder", {})

    study = studies.open(on_change=intrude)
    with pytest.raises(FencedError, match="another process has written"):
        run_rungs(study, [Rung(1.0, cheap(measured, 4))], tmp_path, Budget(trials=40), max_concurrent=1)


def test_rungs_that_take_no_trial_in_full_are_refused(studies: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rungs: the last must take trials of fidelity 1, got 0\.5"):
        run_rungs(studies.open(), [Rung(0.5, cheap(measured, 4))], tmp_path, Budget(trials=1))
