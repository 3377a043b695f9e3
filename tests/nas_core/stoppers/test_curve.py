"""The stopper that looks ahead: what it holds a trial against, and that it saves epochs of real trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from nas_core.curves import extrapolate
from nas_core.errors import InputError
from nas_core.estimators.training import Training
from nas_core.interfaces import Rung, Session
from nas_core.ledger import Ledger
from nas_core.objectives import best
from nas_core.runner import LocalRunner
from nas_core.spaces.chain import Chain
from nas_core.stoppers.curve import Curve
from nas_core.store import MemoryStore
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.tasks.tabular import Tabular
from nas_core.types import Budget, Metrics, Objective, Port, Signature, Status, Trial

MAX = (Objective(metric="accuracy", goal="max"),)
SIZED = (*MAX, Objective(metric="params", goal="min", limit=100))
LAST = 20


def course(end: float, steps: int = LAST, **others: float) -> tuple[tuple[int, Metrics], ...]:
    """Return a curve that is on its way to `end`."""
    return tuple((s, {"accuracy": end - 0.4 * s**-1.0 + 0.02 * (s % 2) / s, **others}) for s in range(1, steps + 1))


def trials(*curves: tuple[tuple[int, Metrics], ...], **changes: Any) -> list[Trial]:
    """Return trials with these curves, all but the last ended."""
    *ended, running = (Trial(number=n, architecture=(n,), curve=curve, **changes) for n, curve in enumerate(curves))
    return [*(replace(t, status=Status.OK, metrics=t.curve[-1][1]) for t in ended), running]


def stops(objectives: Sequence[Objective], *curves: tuple[tuple[int, Metrics], ...], **options: Any) -> bool:
    return Curve(objectives, **options).stop(trials(*curves), len(curves) - 1)


# ---------------------------------------------------------------- one objective


def test_a_trial_that_cannot_come_up_is_stopped_and_one_that_may_is_not() -> None:
    assert stops(MAX, course(0.9), course(0.7, 8))
    assert not stops(MAX, course(0.7), course(0.9, 8))


def test_the_chance_is_that_of_beating_the_best_as_forecast() -> None:
    history = trials(course(0.8), course(0.79, 6))
    curve = [metrics["accuracy"] for _, metrics in history[1].curve]
    alone = extrapolate(range(1, 7), curve, LAST)
    other = extrapolate(range(1, 7), [m["accuracy"] for _, m in history[0].curve[:6]], LAST)
    top = history[0].curve[-1][1]["accuracy"]
    error = (top - other.mean) / other.sd
    spread = (((error - error / 3) ** 2 + 2) / 3) ** 0.5
    expected = alone.corrected(error / 3 * alone.sd, spread).above(top)
    assert Curve(MAX).chance(history[1], history[:1], 6, LAST) == pytest.approx(expected)
    assert 0.01 < expected < 0.99, "or nothing was shown"


def test_a_course_that_always_ends_higher_than_it_promised_is_learned_from_others() -> None:
    """All rise at the end: without ended trials of the same kind, none would be thought to come up."""

    def late(end: float, steps: int = LAST) -> tuple[tuple[int, Metrics], ...]:
        return tuple((s, {"accuracy": m["accuracy"] + (0.1 if s > 15 else 0.0)}) for s, m in course(end, steps))

    *ended, running = trials(*[late(0.7 + 0.001 * i) for i in range(8)], late(0.75, 10))
    top = max((t.metrics or {})["accuracy"] for t in ended)
    seen = [metrics["accuracy"] for _, metrics in running.curve]
    assert extrapolate(range(1, 11), seen, LAST).above(top) < 0.05
    assert Curve(MAX).chance(running, ended, 10, LAST) > 0.8


def test_goals_and_thresholds_have_their_say() -> None:
    falling = tuple((s, {"log_loss": 1 - m["accuracy"]}) for s, m in course(0.9))
    worse = tuple((s, {"log_loss": 1 - m["accuracy"]}) for s, m in course(0.7, 8))
    assert stops((Objective(metric="log_loss", goal="min"),), falling, worse)
    history = trials(course(0.8), course(0.79, 6))
    chance = Curve(MAX).chance(history[1], history[:1], 6, LAST)
    assert Curve(MAX, threshold=chance + 0.01).stop(history, 1)
    assert not Curve(MAX, threshold=chance - 0.01).stop(history, 1)


def test_it_looks_from_the_grace_on_once_every_interval_and_with_enough_that_ended() -> None:
    looked = [n for n in range(1, LAST) if stops(MAX, course(0.9), course(0.5, n), grace_steps=4, interval=3)]
    assert looked == [4, 7, 10, 13, 16, 19]
    assert not stops(MAX, course(0.9), course(0.5, 8), min_trials=2)
    assert stops(MAX, course(0.9), course(0.8), course(0.5, 8), min_trials=2)


def test_a_training_at_its_end_is_not_stopped() -> None:
    assert stops(MAX, course(0.9), course(0.5, LAST - 1))
    assert not stops(MAX, course(0.9), course(0.5, LAST))


@pytest.mark.parametrize(
    "change", [{"fidelity": 0.5}, {"origin": "earlier#0"}, {"status": Status.PRUNED}, {"curve": ()}]
)
def test_what_does_not_compare_has_no_say(change: dict[str, Any]) -> None:
    ended, running = trials(course(0.9), course(0.5, 8))
    assert Curve(MAX).stop([ended, running], 1)
    assert not Curve(MAX).stop([replace(ended, **change), running], 1)


# ---------------------------------------------------------------- several objectives


def test_a_smaller_network_may_be_less_accurate() -> None:
    assert stops(SIZED, course(0.9, params=50), course(0.7, 8, params=60))
    assert not stops(SIZED, course(0.9, params=50), course(0.7, 8, params=40))


def test_what_breaks_a_limit_enters_no_front_that_keeps_it() -> None:
    assert stops(SIZED, course(0.6, params=50), course(0.9, 8, params=101))
    assert not stops(SIZED, course(0.6, params=200), course(0.9, 8, params=101)), "nothing keeps it so far"


def test_the_chance_of_two_open_objectives_is_that_of_entering_the_front() -> None:
    def both(end: float, steps: int = LAST) -> tuple[tuple[int, Metrics], ...]:
        return tuple((s, {"accuracy": m["accuracy"], "log_loss": 1.2 - m["accuracy"]}) for s, m in course(end, steps))

    objectives = (*MAX, Objective(metric="log_loss", goal="min"))
    history = trials(both(0.8), both(0.8, 6))
    stopper = Curve(objectives)
    chance = stopper.chance(history[1], history[:1], 6, LAST)
    ones = [Curve([objective]).chance(history[1], history[:1], 6, LAST) for objective in objectives]
    # independent: dominated only if behind in both; 200 draws, 4 standard errors
    assert chance == pytest.approx(1 - (1 - ones[0]) * (1 - ones[1]), abs=4 * 0.5 / 200**0.5)
    assert chance == stopper.chance(history[1], history[:1], 6, LAST), "drawn by number and step"


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("threshold", 0.0, "> 0 and < 1"),
        ("threshold", 1.0, "> 0 and < 1"),
        ("grace_steps", 0, ">= 1"),
        ("interval", 0, ">= 1"),
        ("min_trials", 0, ">= 1"),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: float, rule: str) -> None:
    with pytest.raises(InputError, match=f"{option}: must be {rule}, got {value}"):
        Curve(MAX, **{option: value})


# ---------------------------------------------------------------- real curves


class Recorded:
    """Reports curves that were trained before."""

    def __init__(self, curves: Sequence[tuple[tuple[int, Metrics], ...]]) -> None:
        self.curves = curves

    def estimate(self, trial: Trial, session: Session) -> Metrics:
        for step, metrics in self.curves[trial.number]:
            if session.report(step, metrics):
                break
        return metrics


@cache
def trained(name: str, trials: int, epochs: int) -> tuple[Chain, list[tuple[tuple[int, Metrics], ...]]]:
    """Return a space, and the curves of architectures drawn from it and trained in full."""
    x, y = {"digits": load_digits, "breast-cancer": load_breast_cancer}[name](return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = ((x - x.mean(0)) / (x.std(0) + 1e-6)).astype(np.float32)[order], y[order].astype(np.int64)
    half, classes = len(x) // 2, len(np.unique(y))
    port, output = Port(name="numeric", shape=(x.shape[1],)), Port(name="y", shape=(classes,), classes=classes)
    signature = Signature(inputs=(port,), outputs=(output,))
    task = Tabular(signature, {"train": ((x[:half],), y[:half]), "validation": ((x[half:],), y[half:])})
    space = Chain(signature, max_depth=2, widths=(8, 16, 32), numeric=("linear",))
    study = LedgerStudy(Ledger(MemoryStore()), space, MAX, Random(space, MAX, 0))
    estimator = Training(space, task, 0, epochs=epochs, batch_size=64, learning_rate=0.002)
    LocalRunner().run(study, [Rung(1.0, estimator)], Budget(trials=trials))
    return space, [trial.curve for trial in study.history]


def test_it_saves_epochs_of_real_trainings_and_loses_no_accuracy() -> None:
    """At least 40 % of the epochs, at no more than 0.2 points of the best accuracy, over 10 orders of trials."""
    _, curves = trained("digits", 20, 14)
    saved, lost = [], []
    for seed in range(10):
        ordered = [curves[i] for i in np.random.default_rng(seed).permutation(len(curves))]
        space = Chain(Signature(inputs=(Port(name="x", shape=(1,)),), outputs=(Port(name="y", shape=(2,), classes=2),)))
        study = LedgerStudy(Ledger(MemoryStore()), space, MAX, Random(space, MAX, seed), stopper=Curve(MAX))
        LocalRunner().run(study, [Rung(1.0, Recorded(ordered))], Budget(trials=len(ordered)))
        top = best(study.history, MAX)
        assert top is not None
        saved.append(1 - sum(len(trial.curve) for trial in study.history) / sum(map(len, curves)))
        lost.append(100 * (max(c[-1][1]["accuracy"] for c in curves) - (top.metrics or {})["accuracy"]))
    assert np.mean(saved) >= 0.4
    assert np.mean(lost) <= 0.2


def test_corrected_intervals_of_real_curves_hold_as_often_as_they_say() -> None:
    """90 % intervals from half of the epochs: of 20 curves at least 14 must hold (binomial, alpha = 0.003).

    Each is corrected by all others. Uncorrected they need not: what is known of them is that the rate falls.
    """
    _, curves = trained("digits", 20, 14)
    history = [replace(t, status=Status.OK, metrics=t.curve[-1][1]) for t in trials(*curves)]
    stopper = Curve(MAX)
    chances = [
        stopper.forecast(t, [o for o in history if o is not t], 7, 14).above(t.curve[-1][1]["accuracy"])
        for t in history
    ]
    assert sum(0.05 < chance < 0.95 for chance in chances) >= 14
