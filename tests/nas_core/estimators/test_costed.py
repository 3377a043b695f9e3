"""Costs beside what an estimator measures, in both lanes, once an architecture."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nas_core.costs.energy import Energy
from nas_core.costs.memory import Memory
from nas_core.costs.size import Size
from nas_core.errors import InputError
from nas_core.estimators.costed import costed
from nas_core.estimators.training import Training
from nas_core.failures import InfeasibleError
from nas_core.interfaces import BatchEstimator, Trainer
from nas_core.spaces.chain import Chain
from nas_core.tasks.tabular import Tabular
from nas_core.types import Architecture, Decision, Failure, Metrics, Status, Trial

from .conftest import Recorder


class Ten:
    """Architectures 0 to 9; odd ones are twins of the even ones before."""

    decisions = (Decision(name="n", options=tuple(map(str, range(10)))),)

    def build(self, architecture: Architecture) -> None:
        raise NotImplementedError

    def canonical(self, architecture: Architecture) -> Architecture:
        return (architecture[0] // 2 * 2,)

    def features(self, architecture: Architecture) -> Metrics:
        return {"n": float(self.canonical(architecture)[0])}


class Weighed:
    """A cost that counts how often it is asked; 4 cannot be had, 6 is not a number."""

    timed = True

    def __init__(self, name: str = "grams") -> None:
        self.metrics = (name,)
        self.asked: list[Architecture] = []

    def measure(self, architecture: Architecture) -> Metrics:
        self.asked.append(architecture)
        if architecture == (4,):
            raise InfeasibleError("build", "no such thing can be weighed")
        return {self.metrics[0]: math.nan if architecture == (6,) else float(architecture[0])}


class Cheap:
    batch = 8

    def __init__(self) -> None:
        self.asked: list[int] = []

    def estimate_batch(self, trials: Sequence[Trial]) -> list[Metrics | Failure]:
        self.asked += [trial.number for trial in trials]
        lost = Failure(status=Status.FAILED, reason="error")
        return [lost if trial.architecture == (2,) else {"accuracy": 0.5} for trial in trials]


def trial(number: int) -> Trial:
    return Trial(number=number, architecture=(number,))


def test_cheap_trials_get_theirs_and_those_that_cannot_be_had_are_not_estimated() -> None:
    inner, cost = Cheap(), Weighed()
    estimator = costed(Ten(), inner, [cost])
    assert isinstance(estimator, BatchEstimator)
    assert estimator.batch == 8
    first, lost, impossible, nan, last = estimator.estimate_batch([trial(n) for n in (0, 2, 4, 6, 8)])
    assert first == {"grams": 0.0, "accuracy": 0.5}
    assert last == {"grams": 8.0, "accuracy": 0.5}
    assert lost == Failure(status=Status.FAILED, reason="error")
    assert impossible == Failure(status=Status.INFEASIBLE, reason="build: no such thing can be weighed")
    assert nan == Failure(status=Status.FAILED, reason="nan: grams is nan")
    assert inner.asked == [0, 2, 8]
    assert estimator.estimate_batch([trial(4)])[0] == impossible


def test_twins_are_measured_once() -> None:
    cost = Weighed()
    estimator = costed(Ten(), Cheap(), [cost])
    assert isinstance(estimator, BatchEstimator)
    both = estimator.estimate_batch([trial(8), trial(9)])
    assert both == [{"grams": 8.0, "accuracy": 0.5}] * 2
    assert cost.asked == [(8,)]


def test_what_one_process_measured_another_need_not(tmp_path: Path) -> None:
    first, second = Weighed(), Weighed()
    for cost in (first, second):
        estimator = costed(Ten(), Cheap(), [cost], tmp_path / "costs")
        assert isinstance(estimator, BatchEstimator)
        assert estimator.estimate_batch([trial(8)]) == [{"grams": 8.0, "accuracy": 0.5}]
    assert (first.asked, second.asked) == ([(8,)], [])


def test_a_folder_that_cannot_be_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    estimator = costed(Ten(), Cheap(), [Weighed()], tmp_path / "file" / "costs")
    assert isinstance(estimator, BatchEstimator)
    assert estimator.estimate_batch([trial(8)]) == [{"grams": 8.0, "accuracy": 0.5}]


def test_without_costs_the_estimator_is_what_it_was() -> None:
    inner = Cheap()
    assert costed(Ten(), inner, []) is inner


def test_two_costs_of_one_name() -> None:
    with pytest.raises(InputError, match="costs: grams is measured twice"):
        costed(Ten(), Cheap(), [Weighed(), Weighed()])


def test_a_training_with_costs_is_a_trainer_that_reports_them(
    adult: Tabular, space: Chain, recorder: Callable[..., Recorder]
) -> None:
    costs = [Size(space, adult), Memory(space, adult), Energy(space, adult, source="model")]
    inner = Training(space, adult, 0, epochs=2)
    estimator = costed(space, inner, costs)
    assert isinstance(estimator, Trainer)
    session = recorder()
    found = estimator.estimate(Trial(number=0, architecture=(0,) * len(space.decisions)), session)
    names = {name for cost in costs for name in cost.metrics}
    plain = inner.estimate(Trial(number=0, architecture=(0,) * len(space.decisions)), recorder(1))
    assert {name: value for name, value in found.items() if name not in names} == plain
    assert names | plain.keys() == found.keys()
    assert [metrics.keys() for _, metrics in session.curve] == [found.keys()] * 2
    _, trained = estimator.train((0,) * len(space.decisions))
    assert names < trained.keys()


def test_it_goes_to_other_processes(adult: Tabular, space: Chain) -> None:
    estimator = costed(space, Training(space, adult, 0, epochs=1), [Size(space, adult)])
    assert isinstance(pickle.loads(pickle.dumps(estimator)), Trainer)  # noqa: S301  Ray's way, of ours
