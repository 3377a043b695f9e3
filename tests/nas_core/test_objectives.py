from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_core.errors import InputError
from nas_core.objectives import best, dominates, hypervolume, key, pareto_front, violation
from nas_core.types import Metrics, Objective, Status, Trial

ACCURACY = Objective(metric="accuracy", goal="max")
LATENCY = Objective(metric="latency_ms", goal="min")
SIZE = Objective(metric="size_mb", goal="min")
FAST = Objective(metric="latency_ms", goal="min", limit=10.0)
GOOD = Objective(metric="accuracy", goal="max", limit=0.8)


def ok(number: int, **metrics: float) -> Trial:
    return Trial(number=number, architecture=(number,), status=Status.OK, metrics=metrics, finished=number)


def numbers(trials: Sequence[Trial]) -> list[int]:
    return [trial.number for trial in trials]


figures = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 2.0])  # few values, so that ties are common
outcomes = st.fixed_dictionaries({"accuracy": figures, "latency_ms": figures, "size_mb": figures})
objectives = st.tuples(
    *(
        st.builds(Objective, metric=st.just(m), goal=st.sampled_from(["min", "max"]), limit=st.none() | figures)
        for m in ("accuracy", "latency_ms", "size_mb")
    )
)

# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"accuracy": 0.8, "latency_ms": 10.0}, 0.0),  # a limit is kept by meeting it
        ({"accuracy": 0.9, "latency_ms": 1.0}, 0.0),
        ({"accuracy": 0.8, "latency_ms": 15.0}, 0.5),  # each excess is a share of its limit
        ({"accuracy": 0.4, "latency_ms": 15.0}, 1.0),  # and shares add up
    ],
)
def test_violation_adds_the_excess_over_each_limit(metrics: Metrics, expected: float) -> None:
    assert violation(metrics, [GOOD, FAST]) == pytest.approx(expected)


def test_violation_of_a_limit_of_zero_is_the_excess_itself() -> None:
    assert violation({"gap": 0.3}, [Objective(metric="gap", goal="min", limit=0.0)]) == pytest.approx(0.3)


def test_without_limits_nothing_is_violated() -> None:
    assert violation({"accuracy": -5.0, "latency_ms": 1e9}, [ACCURACY, LATENCY]) == 0


# ---------------------------------------------------------------- better and worse


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0.9, 5.0), (0.8, 5.0), True),  # better in one, equal in the other
        ((0.9, 5.0), (0.9, 5.0), False),  # equal
        ((0.9, 6.0), (0.8, 5.0), False),  # a trade
        ((0.1, 10.0), (0.9, 11.0), True),  # within the limit beats outside, whatever else
        ((0.1, 11.0), (0.9, 12.0), True),  # outside, the smaller violation wins
        ((0.9, 11.0), (0.1, 11.0), False),  # equally outside: neither
    ],
)
def test_constrained_domination(a: tuple[float, float], b: tuple[float, float], expected: bool) -> None:
    first, second = ({"accuracy": x, "latency_ms": y} for x, y in (a, b))
    assert dominates(first, second, [ACCURACY, FAST]) is expected


@given(outcomes, outcomes, objectives)
def test_keys_extend_domination(a: Metrics, b: Metrics, goals: tuple[Objective, ...]) -> None:
    if dominates(a, b, goals):
        assert not dominates(b, a, goals)
        assert key(a, goals) < key(b, goals)


def test_a_missing_metric_is_named_with_those_that_exist() -> None:
    with pytest.raises(InputError, match="no metric 'latency_ms' was measured; choose one of accuracy, log_loss"):
        best([ok(0, log_loss=0.3, accuracy=0.9)], [ACCURACY, LATENCY])


def test_a_figure_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="accuracy must be finite, got nan"):
        key({"accuracy": float("nan")}, [ACCURACY])


# ---------------------------------------------------------------- the front


@given(st.lists(outcomes, max_size=12), objectives)
def test_the_front_is_what_nothing_dominates(rows: list[Metrics], goals: tuple[Objective, ...]) -> None:
    trials = [ok(i, **row) for i, row in enumerate(rows)]
    expected = [i for i, row in enumerate(rows) if not any(dominates(other, row, goals) for other in rows)]
    assert numbers(pareto_front(trials, goals)) == expected


def test_the_front_holds_trials_that_are_ok_only() -> None:
    trials = [
        ok(0, accuracy=0.5),
        Trial(number=1, architecture=(1,), status=Status.PRUNED, metrics={"accuracy": 0.9}),
        Trial(number=2, architecture=(2,), status=Status.FAILED),
        Trial(number=3, architecture=(3,)),
    ]
    assert numbers(pareto_front(trials, [ACCURACY])) == [0]
    assert best(trials, [ACCURACY]) == trials[0]


# ---------------------------------------------------------------- the best


def test_the_best_keeps_the_limits_and_leads_in_the_first_objective() -> None:
    trials = [ok(0, accuracy=0.99, latency_ms=11), ok(1, accuracy=0.8, latency_ms=1), ok(2, accuracy=0.9, latency_ms=9)]
    assert best(trials, [ACCURACY, FAST]) == trials[2]


def test_the_others_decide_ties_and_then_the_earliest() -> None:
    trials = [ok(0, accuracy=0.9, latency_ms=9), ok(1, accuracy=0.9, latency_ms=5), ok(2, accuracy=0.9, latency_ms=5)]
    assert best(trials, [ACCURACY, LATENCY]) == trials[1]


@pytest.mark.parametrize("trials", [[], [ok(0, accuracy=0.9, latency_ms=11)], [Trial(number=0, architecture=(0,))]])
def test_nothing_within_the_limits_has_no_best(trials: list[Trial]) -> None:
    assert best(trials, [ACCURACY, FAST]) is None


# ---------------------------------------------------------------- hypervolume


def test_hypervolume_of_a_staircase() -> None:
    trials = [ok(0, accuracy=0.9, latency_ms=8), ok(1, accuracy=0.7, latency_ms=4), ok(2, accuracy=0.5, latency_ms=2)]
    # Down from 10 ms, step by step: as far as accuracy reaches above 0.4.
    assert hypervolume(trials, [ACCURACY, LATENCY], [0.4, 10]) == pytest.approx(2 * 0.5 + 4 * 0.3 + 2 * 0.1)


def test_hypervolume_of_two_boxes_is_their_union() -> None:
    goals = [ACCURACY, LATENCY, SIZE]
    trials = [ok(0, accuracy=0.9, latency_ms=3, size_mb=6), ok(1, accuracy=0.6, latency_ms=7, size_mb=2)]
    assert hypervolume(trials, goals, [0.5, 8, 10]) == pytest.approx(0.4 * 5 * 4 + 0.1 * 1 * 8 - 0.1 * 1 * 4)


def test_hypervolume_agrees_with_monte_carlo_in_five_dimensions() -> None:
    rng = np.random.default_rng(0)
    goals = [Objective(metric=f"m{i}", goal="min" if i % 2 else "max") for i in range(5)]
    points = rng.uniform(size=(12, 5))
    trials = [ok(i, **{f"m{j}": x for j, x in enumerate(point)}) for i, point in enumerate(points)]
    corner = [0.0, 1.0, 0.0, 1.0, 0.0]

    losses = np.where(np.arange(5) % 2, points, 1 - points)
    thrown = rng.uniform(size=(100_000, 5))
    hit = (losses[None] <= thrown[:, None]).all(axis=2).any(axis=1)
    error = 5 * np.sqrt(hit.var() / len(hit))  # 5 sigma: alpha < 1e-6
    assert hypervolume(trials, goals, corner) == pytest.approx(hit.mean(), abs=error)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_hypervolume_agrees_with_another_library(count: int) -> None:
    import torch

    with warnings.catch_warnings():  # it uses a compiler of torch's that is deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        from botorch.utils.multi_objective.hypervolume import Hypervolume
        from botorch.utils.multi_objective.pareto import is_non_dominated

    goals = [Objective(metric=f"m{i}", goal="min" if i % 2 else "max") for i in range(count)]
    signs = np.where(np.arange(count) % 2, -1.0, 1.0)
    for seed in range(5):
        gains = np.random.default_rng(seed).normal(size=(30, count)).round(1)  # rounded, so that there are ties
        trials = [ok(i, **{f"m{j}": float(x) for j, x in enumerate(row * signs)}) for i, row in enumerate(gains)]
        corner = np.full(count, -0.5)
        kept = torch.from_numpy(gains)
        expected = Hypervolume(torch.from_numpy(corner)).compute(kept[is_non_dominated(kept)])
        assert hypervolume(trials, goals, (corner * signs).tolist()) == pytest.approx(expected)


@given(st.permutations(range(3)))
def test_hypervolume_does_not_depend_on_the_order_of_objectives(order: list[int]) -> None:
    rows = [(0.1, 0.9, 0.5), (0.4, 0.4, 0.4), (0.8, 0.2, 0.3), (0.5, 0.5, 0.1)]
    trials = [ok(i, a=a, b=b, c=c) for i, (a, b, c) in enumerate(rows)]
    goals = [Objective(metric=m, goal="min") for m in "abc"]
    expected = hypervolume(trials, goals, [1, 1, 1])
    assert hypervolume(trials, [goals[i] for i in order], [1, 1, 1]) == pytest.approx(expected)


@pytest.mark.parametrize(
    "idle",
    [
        ok(1, accuracy=0.6, latency_ms=4.0),  # dominated
        ok(1, accuracy=0.3, latency_ms=1.0),  # not better than the reference
        ok(1, accuracy=0.9, latency_ms=11.0),  # breaks the limit
        Trial(number=1, architecture=(1,), status=Status.FAILED),
    ],
)
def test_some_trials_add_no_volume(idle: Trial) -> None:
    trials = [ok(0, accuracy=0.7, latency_ms=4)]
    expected = hypervolume(trials, [ACCURACY, FAST], [0.4, 20])
    assert expected > 0
    assert hypervolume([*trials, idle], [ACCURACY, FAST], [0.4, 20]) == expected


@pytest.mark.parametrize("trials", [[], [ok(0, accuracy=0.9, latency_ms=11)]])
def test_nothing_within_the_limits_has_no_volume(trials: list[Trial]) -> None:
    assert hypervolume(trials, [ACCURACY, FAST], [0.4, 20]) == 0


def test_the_reference_needs_a_value_per_objective() -> None:
    with pytest.raises(InputError, match="reference: needs 2 values, one per objective, got 1"):
        hypervolume([], [ACCURACY, LATENCY], [0])
