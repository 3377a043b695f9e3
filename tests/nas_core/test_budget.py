from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nas_core.budget import Meter
from nas_core.interfaces import Rung, Session
from nas_core.ledger import Ledger
from nas_core.runner import LocalRunner
from nas_core.store import MemoryStore, Store
from nas_core.study import LedgerStudy
from nas_core.types import (
    Architecture,
    Budget,
    Decision,
    Failure,
    Metrics,
    Objective,
    Proposal,
    Spent,
    Status,
    Trial,
)

OBJECTIVES = (Objective(metric="accuracy", goal="max"),)


class Space:
    decisions = (Decision(name="a", options=tuple(map(str, range(100)))),)

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


class InOrder:
    def propose(self, history: Sequence[Trial], n: int) -> Sequence[Proposal]:
        own = sum(not trial.origin for trial in history)
        return [Proposal(architecture=(own + i,)) for i in range(n)]


class Clock:
    """The time of ledger and meter alike, set forward by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def aware(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)


class Killed(BaseException):
    pass


def study_of(store: Store | None = None, clock: Clock | None = None, **options: Any) -> LedgerStudy:
    ledger = Ledger(store or MemoryStore(), clock=(clock or Clock()).aware)
    return LedgerStudy(ledger, Space(), OBJECTIVES, InOrder(), **options)


def search(store: Store, clock: Clock, budget: Budget, seconds: float = 10.0, kill_at: float = float("inf")) -> Spent:
    """Run trials of so many `seconds` one by one, as runners do; killed when the clock has come to `kill_at`."""
    study = study_of(store, clock)
    meter = Meter(study, budget, clock)
    while meter.room(1):
        (trial,) = study.ask(1)
        for step in range(1, 6):
            clock.now += seconds / 5
            if clock.now >= kill_at:
                raise Killed
            study.report(trial.number, step, {"accuracy": step / 10})
        study.tell(trial.number, {"accuracy": 0.5}, seconds)
    return study.spent


# ---------------------------------------------------------------- room


def test_without_a_cap_there_is_room_for_all_that_is_wanted() -> None:
    assert Meter(study_of(), Budget()).room(7) == 7


def test_trials_that_ended_or_run_take_room_and_priors_take_none() -> None:
    prior = Trial(number=0, architecture=(50,), origin="earlier#0", status=Status.OK, metrics={"accuracy": 0.1})
    study = study_of(priors=[prior])
    meter = Meter(study, Budget(trials=5))
    assert meter.room(3) == 3
    assert meter.room(9) == 5
    study.ask(2)
    assert meter.room(9, running=2) == 3
    study.tell(1, Failure(status=Status.FAILED, reason="error: odd"), 1.0)
    assert meter.room(9, running=1) == 3
    assert meter.room(9, running=4) == 0
    assert meter.room(9, running=40) == 0


def test_what_a_killed_process_left_pending_has_room() -> None:
    store = MemoryStore()
    study_of(store).ask(2)
    assert Meter(study_of(store), Budget(trials=2)).room(9) == 2


def test_what_a_killed_process_left_is_finished_even_at_the_cap() -> None:
    store, clock = MemoryStore(), Clock()
    study_of(store, clock).ask(3)
    clock.now += 60
    meter = Meter(study_of(store, clock), Budget(seconds=50), clock)
    clock.now += 60
    assert [meter.room(8), meter.room(2), meter.room(8, running=2), meter.room(8, running=3)] == [3, 2, 1, 0]


def test_seconds_are_wall_clock_and_end_all_at_once() -> None:
    clock = Clock()
    meter = Meter(study_of(clock=clock), Budget(seconds=30), clock)
    clock.now += 29.9
    assert (meter.room(9), round(meter.seconds, 6)) == (9, 29.9)
    clock.now += 0.1
    assert meter.room(9) == 0


def test_seconds_of_trials_count_those_that_run() -> None:
    study = study_of()
    meter = Meter(study, Budget(trial_seconds=30))
    study.ask(3)
    study.tell(0, {"accuracy": 0.5}, 12.0)
    study.tell(1, Failure(status=Status.LOST, reason="worker"), 8.0)
    assert meter.room(9, running=1, running_seconds=9.9) == 9
    assert meter.room(9, running=1, running_seconds=10.0) == 0


def test_retried_attempts_cost_too() -> None:
    study = study_of()
    meter = Meter(study, Budget(trial_seconds=30))
    study.ask(1)
    for _ in range(2):
        study.retry(0, Failure(status=Status.LOST, reason="worker"), 14.0, most=5)
        assert study.ask(1)
    assert meter.room(1) == 1
    study.tell(0, {"accuracy": 0.5}, 2.0)
    assert study.spent == Spent(trials=1, seconds=0.0, trial_seconds=30.0)
    assert meter.room(1) == 0


def test_whichever_cap_comes_first_counts() -> None:
    clock = Clock()
    study = study_of(clock=clock)
    meter = Meter(study, Budget(trials=2, seconds=100, trial_seconds=50), clock)
    study.ask(1)
    study.tell(0, {"accuracy": 0.5}, 1.0)
    assert meter.room(5) == 1
    study.ask(1)
    study.tell(1, {"accuracy": 0.5}, 1.0)
    assert meter.room(5) == 0


# ---------------------------------------------------------------- over several processes


@pytest.mark.parametrize("budget", [Budget(trials=9), Budget(seconds=85), Budget(trial_seconds=85)])
@pytest.mark.parametrize("gap", [0.0, 5000.0])
@pytest.mark.parametrize("kills", [[1000.0], [1013.0], [1041.0], [1013.0, 1019.0, 1047.0]])
def test_a_search_in_parts_takes_what_one_takes(budget: Budget, gap: float, kills: list[float]) -> None:
    """Killed at any place, and up again after a pause: the caps are of the search, not of a process.

    An attempt that was killed is counted as far as the record knows it, two seconds before its next report.
    """
    whole = search(MemoryStore(), Clock(), budget)
    store, clock = MemoryStore(), Clock()
    for kill_at in kills:
        with pytest.raises(Killed):
            search(store, clock, budget, kill_at=kill_at + gap * kills.index(kill_at))
        clock.now += gap
    parts = search(store, clock, budget)
    assert whole.trials == 9
    lost = 10.0 * len(kills)
    if budget.trials:
        assert parts.trials == whole.trials
        assert whole.trial_seconds <= parts.trial_seconds <= whole.trial_seconds + lost
    else:
        least = whole.trials - -(-lost // 10.0)
        assert least <= parts.trials <= whole.trials
    assert parts.seconds <= whole.seconds + lost
    assert parts.trial_seconds == pytest.approx(parts.seconds, abs=2.0 * len(kills))


def test_time_between_processes_is_no_time_of_the_search() -> None:
    store, clock = MemoryStore(), Clock()
    with pytest.raises(Killed):
        search(store, clock, Budget(seconds=85), kill_at=1043.0)
    known = study_of(store, clock).spent.seconds
    clock.now += 86_400
    study = study_of(store, clock)
    meter = Meter(study, Budget(seconds=85), clock)
    assert meter.seconds == known == 42.0
    study.ask(1)
    assert study.spent.seconds == known
    clock.now += 7
    assert meter.seconds == known + 7
    study.tell(4, {"accuracy": 0.5}, 7.0)
    assert study.spent.seconds == known + 7


class Sleeping:
    def estimate(self, _: Trial, session: Session) -> Metrics:
        time.sleep(0.03)
        session.report(1, {"accuracy": 0.1})
        return {"accuracy": 0.5}


def test_the_runner_in_process_keeps_to_seconds_of_trials_over_two_calls() -> None:
    store = MemoryStore()

    def run(trial_seconds: float) -> Spent:
        study = LedgerStudy(Ledger(store), Space(), OBJECTIVES, InOrder())
        LocalRunner().run(study, [Rung(1.0, Sleeping())], Budget(trial_seconds=trial_seconds))
        return study.spent

    first = run(0.1)
    assert 1 <= first.trials <= 4  # of at least 0.03 s each
    assert first.trial_seconds >= 0.1
    assert run(0.1) == first
    second = run(first.trial_seconds + 0.001)
    assert second.trials == first.trials + 1
