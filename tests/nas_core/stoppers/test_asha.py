"""Successive halving that stops: by hand, and beside Ray Tune's own scheduler on the same reports."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from nas_core.errors import InputError
from nas_core.stoppers.asha import ASHA
from nas_core.types import Objective, Status, Trial

from .conftest import MAX, Points, compare, history_of, judge

SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_it_decides_as_ray_does(seed: int, objective: Objective) -> None:
    grace, reduction = 1 + seed % 3, 2 + seed % 4
    ray: Any = AsyncHyperBandScheduler(
        metric="figure",
        mode=objective.goal,
        max_t=10_000,  # farther than any trial comes: ours has rungs without end
        grace_period=grace,
        reduction_factor=reduction,
        stop_last_trials=False,
    )
    known = [SimpleNamespace(trial_id=str(number)) for number in range(40)]
    for trial in known:
        ray.on_trial_add(None, trial)

    def asks_ray(_: list[Trial], number: int, step: int, figure: float) -> bool:
        answer = ray.on_trial_result(None, known[number], {"training_iteration": step, "figure": figure})
        return bool(answer == TrialScheduler.STOP)

    answers = compare(ASHA([objective], grace_steps=grace, reduction=reduction), asks_ray, objective, seed)
    assert 10 <= sum(answers) < len(answers) / 2, "nothing was shown"


@pytest.mark.parametrize(
    ("others", "own", "stops"),
    [
        ([], 0.0, False),
        ([0.5], 0.5, False),
        ([0.5], 0.49, True),
        ([0.1, 0.2, 0.3, 0.4], 0.3, False),  # of four, the first third ends at the second best
        ([0.1, 0.2, 0.3, 0.4], 0.29, True),
        ([0.5] * 7, 0.5, False),
    ],
)
def test_the_best_third_goes_on(others: list[float], own: float, stops: bool) -> None:
    assert judge(ASHA(MAX), *({1: value} for value in others), {1: own}) is stops


def test_between_two_values_the_bar_is_where_the_quantile_lies() -> None:
    others: list[Points] = [{1: 0.1}, {1: 0.2}, {1: 0.4}]
    bar = 0.4 - 0.2 * 2 / 3
    assert not judge(ASHA(MAX), *others, {1: bar + 1e-9})
    assert judge(ASHA(MAX), *others, {1: bar - 1e-9})


def test_rungs_are_powers_of_the_reduction_times_the_grace() -> None:
    stopper = ASHA(MAX, grace_steps=2, reduction=3)
    good = dict.fromkeys(range(1, 60), 0.9)
    stopped = [n for n in range(1, 60) if judge(stopper, good, dict.fromkeys(range(1, n + 1), 0.1))]
    assert stopped == [2, 6, 18, 54]


def test_the_first_report_beyond_a_rung_stands_for_it() -> None:
    stopper = ASHA(MAX)
    assert judge(stopper, {1: 0.1, 5: 0.9}, {1: 0.9, 4: 0.5})
    assert not judge(stopper, {1: 0.1, 5: 0.4, 6: 0.9}, {1: 0.9, 4: 0.5})
    assert not judge(stopper, {1: 0.1, 9: 0.9}, {1: 0.9, 4: 0.5}), "the other has skipped the rung at 3"
    assert not judge(stopper, {1: 0.1, 5: 0.9}, {1: 0.9, 4: 0.95, 5: 0.1}), "it has passed the rung at 3"


def test_a_report_without_the_metric_leaves_the_rung_to_the_next() -> None:
    stopper = ASHA(MAX)
    trials = history_of({3: 0.9}, {4: 0.1})
    bare = replace(trials[1], curve=((3, {"other": 1.0}),))
    assert not stopper.stop([trials[0], bare], 1)
    assert stopper.stop([trials[0], replace(bare, curve=(*bare.curve, *trials[1].curve))], 1)


@pytest.mark.parametrize("change", [{"fidelity": 0.5}, {"origin": "earlier#0"}])
def test_what_does_not_compare_has_no_say(change: dict[str, Any]) -> None:
    other, trial = history_of({1: 0.9}, {1: 0.1})
    assert ASHA(MAX).stop([other, trial], 1)
    assert not ASHA(MAX).stop([replace(other, **change), trial], 1)


@pytest.mark.parametrize("status", list(Status))
def test_whatever_became_of_the_others_counts(status: Status) -> None:
    other, trial = history_of({1: 0.9, 2: 0.9}, {1: 0.1})
    assert ASHA(MAX).stop([replace(other, status=status), trial], 1)


def test_a_training_at_its_end_is_not_stopped() -> None:
    """The longest ok trial tells where that is; one that was pruned, or of another fidelity, does not."""
    best, trial = history_of(dict.fromkeys(range(1, 10), 0.9), dict.fromkeys(range(1, 10), 0.1))
    ended = replace(best, status=Status.OK)
    assert not ASHA(MAX).stop([ended, trial], 1)
    assert ASHA(MAX).stop([ended, replace(trial, curve=trial.curve[:3])], 1)
    assert ASHA(MAX).stop([replace(best, status=Status.PRUNED), trial], 1)
    shorter = replace(ended, number=2, curve=ended.curve[:3])
    assert not ASHA(MAX).stop([best, trial, shorter], 1)
    longer = replace(ended, number=3, curve=(*ended.curve, (10, {"accuracy": 0.9})))
    assert ASHA(MAX).stop([best, trial, shorter, longer], 1)


def test_a_promoted_trial_is_not_judged_by_the_steps_of_its_parent() -> None:
    parent, other = history_of({1: 0.1, 2: 0.1, 3: 0.1}, {1: 0.9, 3: 0.9, 9: 0.9})
    parent = replace(parent, fidelity=1 / 3, status=Status.OK)
    child = replace(parent, number=2, fidelity=1.0, parents=(0,), status=Status.PENDING)
    assert not ASHA(MAX).stop([parent, other, child], 2)
    assert ASHA(MAX).stop([parent, other, replace(child, parents=())], 2)
    assert ASHA(MAX).stop([parent, other, replace(child, architecture=(9,))], 2), "what inherits otherwise begins anew"
    beyond = replace(child, curve=(*child.curve, (9, {"accuracy": 0.2})))
    assert ASHA(MAX).stop([parent, other, beyond], 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"grace_steps": 0}, "grace_steps: must be >= 1, got 0"), ({"reduction": 1}, "reduction: must be >= 2, got 1")],
)
def test_options_out_of_range_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ASHA(MAX, **options)
