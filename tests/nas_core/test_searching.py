from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas_core import space as algebra
from nas_core.objectives import best
from nas_core.searching import search
from nas_core.strategies.random import Random
from nas_core.types import Architecture, Budget, Decision, Metrics, Objective, Status, Trial

LEAST = [Objective(metric="sum", goal="min")]


@dataclass(frozen=True)
class Digits:
    """Nine architectures."""

    decisions: tuple[Decision, ...] = tuple(Decision(name=name, options=("0", "1", "2")) for name in "ab")

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


@dataclass
class Adder:
    """Counts what it is asked."""

    batch: int = 2
    asked: int = 0

    def estimate_batch(self, trials: Sequence[Trial]) -> list[Metrics]:
        self.asked += len(trials)
        return [{"sum": float(sum(trial.architecture))} for trial in trials]


def test_the_best_of_a_small_space_is_found_and_every_trial_told() -> None:
    told: list[Trial] = []
    study = search(Digits(), Random(Digits(), LEAST, 0), Adder(), LEAST, Budget(trials=20), on_trial=told.append)
    assert study.exhausted
    assert sorted(trial.architecture for trial in told) == list(algebra.architectures(Digits()))
    champion = best(study.history, LEAST)
    assert champion is not None
    assert champion.architecture == (0, 0)


def test_a_second_call_goes_on_where_the_first_one_ended(tmp_path: Path) -> None:
    estimator = Adder()
    for trials, expected in ((3, 3), (7, 7)):
        study = search(
            Digits(), Random(Digits(), LEAST, 0), estimator, LEAST, Budget(trials=trials), folder=tmp_path / "study"
        )
        assert len(study.history) == estimator.asked == expected


def test_earlier_trials_come_first_and_are_not_counted(tmp_path: Path) -> None:
    earlier = search(Digits(), Random(Digits(), LEAST, 0), Adder(), LEAST, Budget(trials=2)).history
    priors = [replace(trial, origin=f"before#{trial.number}") for trial in earlier]
    study = search(
        Digits(), Random(Digits(), LEAST, 1), Adder(), LEAST, Budget(trials=4), folder=tmp_path, priors=priors
    )
    assert [bool(trial.origin) for trial in study.history] == [True] * 2 + [False] * 4
    assert all(trial.status is Status.OK for trial in study.history)
