"""The median stopping rule: beside a literal reading of the paper, and beside Ray Tune's own scheduler."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import MedianStoppingRule, TrialScheduler

from nas_core.errors import InputError
from nas_core.stoppers.median import Median
from nas_core.types import Objective, Status, Trial

from .conftest import MAX, compare, history_of, judge


def literally(history: list[Trial], number: int, step: int, objective: Objective, min_trials: int) -> bool:
    """Golovin et al. 2017, section 3.2.2: the best so far is strictly worse than the median of running averages."""

    def figures(trial: Trial) -> list[float]:
        return [metrics[objective.metric] for at, metrics in trial.curve if at <= step]

    others = [t for t in history if t.number != number and t.curve and t.curve[-1][0] >= step and t.curve[0][0] <= step]
    if len(others) < min_trials:
        return False
    middle = np.median([np.mean(figures(other)) for other in others])
    own = figures(history[number])
    return bool(max(own) < middle if objective.goal == "max" else min(own) > middle)


@pytest.mark.parametrize("seed", range(12))
def test_it_decides_as_the_paper_says(seed: int, objective: Objective) -> None:
    least = 1 + seed % 5
    answers = compare(
        Median([objective], min_trials=least),
        lambda history, number, step, _: literally(history, number, step, objective, least),
        objective,
        seed,
    )
    assert 3 <= sum(answers) < len(answers) / 2, "nothing was shown"


@pytest.mark.parametrize("seed", range(12))
def test_it_decides_as_ray_does(seed: int, objective: Objective) -> None:
    ray: Any = MedianStoppingRule(
        "training_iteration", metric="figure", mode=objective.goal, grace_period=1, min_samples_required=3
    )
    nobody = SimpleNamespace(get_live_trials=list)  # waits: with too few others, none is paused for another's sake
    known = [_Trial(str(number)) for number in range(40)]

    def asks_ray(_: list[Trial], number: int, step: int, figure: float) -> bool:
        answer = ray.on_trial_result(nobody, known[number], {"training_iteration": step, "figure": figure})
        return bool(answer == TrialScheduler.STOP)

    assert sum(compare(Median([objective]), asks_ray, objective, seed)) >= 3


def test_the_best_so_far_is_what_counts() -> None:
    others = [dict.fromkeys((1, 2), 0.5)] * 3
    assert judge(Median(MAX), *others, {1: 0.4, 2: 0.1})
    assert not judge(Median(MAX), *others, {1: 0.6, 2: 0.1})
    assert not judge(Median(MAX), *others, {1: 0.5, 2: 0.1}), "as good is good enough"


def test_averages_end_at_the_step_that_is_judged() -> None:
    others = [{1: 0.1, 2: 0.3, 3: 0.9}] * 3
    assert not judge(Median(MAX), *others, {1: 0.2, 2: 0.2})
    assert judge(Median(MAX), *others, {1: 0.1, 2: 0.19})


def test_others_must_have_come_as_far_and_be_enough() -> None:
    short, far, own = {1: 0.9}, {1: 0.9, 2: 0.9}, {1: 0.1, 2: 0.1}
    assert judge(Median(MAX), far, far, far, own)
    assert not judge(Median(MAX), far, far, short, own)
    assert not judge(Median(MAX), far, far, {3: 0.9}, own), "it had not begun"
    assert judge(Median(MAX, min_trials=2), far, far, short, own)


def test_an_equal_average_stops_nothing_however_it_is_rounded() -> None:
    curve = dict.fromkeys(range(1, 41), 0.1)
    for n in curve:
        own = {step: value for step, value in curve.items() if step <= n}
        assert not judge(Median(MAX), curve, curve, curve, own)
        assert not judge(Median([Objective(metric="accuracy", goal="min")]), curve, curve, curve, own)


@pytest.mark.parametrize(
    ("steps", "looks"),
    [
        (range(1, 13), [3, 7, 11]),
        ((2, 5, 6, 7, 12, 13, 15), [5, 7, 12, 15]),
        ((8,), [8]),
    ],
)
def test_it_looks_from_the_grace_on_once_every_interval(steps: Any, looks: list[int]) -> None:
    stopper = Median(MAX, grace_steps=3, interval=4)
    others = [dict.fromkeys(range(1, 20), 0.9)] * 3
    stopped = [n for n in steps if judge(stopper, *others, {step: 0.1 for step in steps if step <= n})]
    assert stopped == looks


@pytest.mark.parametrize("change", [{"fidelity": 0.5}, {"origin": "earlier#0"}, {"curve": ((1, {"other": 1.0}),)}])
def test_what_does_not_compare_has_no_say(change: dict[str, Any]) -> None:
    *others, trial = history_of({1: 0.9}, {1: 0.9}, {1: 0.9}, {1: 0.1})
    assert Median(MAX).stop([*others, trial], 3)
    assert not Median(MAX).stop([replace(others[0], **change), *others[1:], trial], 3)


def test_a_training_at_its_end_is_not_stopped() -> None:
    *others, trial = history_of(*[dict.fromkeys((1, 2), 0.9)] * 3, dict.fromkeys((1, 2), 0.1))
    assert Median(MAX).stop([*others, trial], 3)
    assert not Median(MAX).stop([replace(others[0], status=Status.OK), *others[1:], trial], 3)


@pytest.mark.parametrize("option", ["grace_steps", "min_trials", "interval"])
def test_options_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(InputError, match=f"{option}: must be >= 1, got 0"):
        Median(MAX, **{option: 0})


class _Trial:
    """What the rule asks of a trial of Ray Tune: to be told apart from others."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id
