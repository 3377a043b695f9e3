"""Rules over fronts whose right answers are known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_core import objectives as order
from nas_core.choosing import RULES, Rule, choose
from nas_core.errors import InputError
from nas_core.types import Objective, Status, Trial

ACCURACY = Objective(metric="accuracy", goal="max")
LATENCY = Objective(metric="latency_ms", goal="min")
SIZE = Objective(metric="model_size_mb", goal="min")
BOTH = (ACCURACY, LATENCY)


def trials(rows: Sequence[Sequence[float]], objectives: Sequence[Objective] = BOTH) -> list[Trial]:
    names = [objective.metric for objective in objectives]
    return [
        Trial(number=i, architecture=(i,), status=Status.OK, metrics=dict(zip(names, row, strict=True)))
        for i, row in enumerate(rows)
    ]


def picked(rows: Sequence[Sequence[float]], rule: Rule, objectives: Sequence[Objective] = BOTH) -> int:
    choice = choose(trials(rows, objectives), objectives, rule)
    assert choice is not None
    return choice.trial.number


@pytest.mark.parametrize("power", [1.5, 2.0, 3.0])
def test_the_knee_of_a_curve_is_where_calculus_says(power: float) -> None:
    """Of y = (1 - x)^p, 1 - x - y is greatest where p (1 - x)^(p - 1) = 1, whatever the units of both."""
    xs = np.linspace(0, 1, 1001)
    rows = [(0.9 - 0.3 * (1 - x) ** power, 2 + 50 * x) for x in xs]
    choice = choose(trials(rows), BOTH, Rule(kind="knee"))
    assert choice is not None
    x = 1 - power ** (-1 / (power - 1))
    assert xs[choice.trial.number] == pytest.approx(x, abs=1e-3)
    assert choice.why["distance"] == pytest.approx((1 - x - (1 - x) ** power) / math.sqrt(2), abs=1e-5)
    assert 0 < choice.why["next_distance"] <= choice.why["distance"]


def test_a_straight_front_has_no_knee_and_the_first_objective_decides() -> None:
    assert picked([(0.5, 1), (0.75, 2), (1.0, 3)], Rule(kind="knee")) == 2


def test_the_knee_in_three_dimensions() -> None:
    """Of the sphere's octant (x, y, z) with loss 1 - x each, the middle is nearest to the ideal plane."""
    objectives = (ACCURACY, LATENCY, SIZE)
    ends = [(1.0, 1, 1), (0.0, 0, 1), (0.0, 1, 0)]
    assert picked([*ends, (0.6, 0.4, 0.4), (0.3, 0.6, 0.6)], Rule(kind="knee"), objectives) == 3


def test_what_breaks_a_limit_is_not_on_the_front_that_is_chosen_from() -> None:
    limited = (ACCURACY, Objective(metric="latency_ms", goal="min", limit=2.5))
    rows = [(0.5, 1), (0.74, 1.2), (0.75, 2), (0.99, 2.6)]
    assert {kind: picked(rows, Rule(kind=kind), limited) for kind in ("within-limits", "knee")} == {
        "within-limits": 2,
        "knee": 1,
    }


def test_nothing_is_chosen_if_nothing_keeps_the_limits() -> None:
    assert choose(trials([(0.5, 1)]), (ACCURACY, Objective(metric="latency_ms", goal="min", limit=0.5)), Rule()) is None


@pytest.mark.parametrize(
    ("tolerances", "expected"),
    [({}, 3), ({"accuracy": 0.01}, 2), ({"accuracy": 0.1}, 1), ({"accuracy": 0.1, "latency_ms": 9}, 3)],
)
def test_an_order_with_tolerances(tolerances: dict[str, float], expected: int) -> None:
    rows = [(0.6, 1), (0.8, 2), (0.89, 5), (0.9, 9)]
    assert picked(rows, Rule(kind="lexicographic", tolerances=tolerances)) == expected


@pytest.mark.parametrize(
    ("weights", "expected"),
    [({"accuracy": 1}, 2), ({"latency_ms": 1}, 0), ({"accuracy": 1, "latency_ms": 1}, 1)],
)
def test_weights_are_of_scaled_objectives(weights: dict[str, float], expected: int) -> None:
    assert picked([(0.50, 100), (0.58, 120), (0.60, 200)], Rule(kind="weighted", weights=weights)) == expected


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule(kind="best"), r"kind: unknown name 'best', expected one of knee, lexicographic, weighted, within-limits"),
        (Rule(kind="weighted"), r"weights: one at least must be > 0; weigh accuracy or latency_ms"),
        (Rule(kind="weighted", weights={"accuracy": 0}), r"weights: one at least must be > 0"),
        (Rule(kind="weighted", weights={"acuracy": 1}), r"weights: unknown name 'acuracy'.*did you mean 'accuracy'"),
        (Rule(kind="weighted", weights={"accuracy": -1}), r"weights\.accuracy: must be >= 0, got -1"),
        (Rule(kind="weighted", weights={"accuracy": math.nan}), r"weights\.accuracy: must be >= 0, got nan"),
        (Rule(kind="lexicographic", tolerances={"params": 1}), r"tolerances: unknown name 'params'"),
    ],
)
def test_a_rule_that_cannot_be(rule: Rule, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(trials([(0.5, 1)]), BOTH, rule)


figures = st.lists(st.tuples(*[st.integers(0, 6).map(float)] * 3), min_size=1, max_size=12)


@given(figures, st.sampled_from(sorted(RULES)))
def test_every_rule_chooses_from_the_front_and_says_why_in_json(rows: list[tuple[float, ...]], kind: str) -> None:
    objectives = (ACCURACY, LATENCY, SIZE)
    given_trials = trials(rows, objectives)
    weights = {"accuracy": 1.0, "latency_ms": 0.5} if kind == "weighted" else {}
    choice = choose(given_trials, objectives, Rule(kind=kind, weights=weights))
    assert choice is not None
    assert choice.trial in order.pareto_front(given_trials, objectives)
    assert json.loads(json.dumps(choice.why, allow_nan=False)) == choice.why
    assert choice.why["rule"] == kind


@given(figures, st.sampled_from(sorted(RULES)), st.randoms(use_true_random=False))
def test_the_order_of_equal_trials_decides_between_equals_only(
    rows: list[tuple[float, ...]], kind: str, random: object
) -> None:
    objectives = (ACCURACY, LATENCY, SIZE)
    rule = Rule(kind=kind, weights={"accuracy": 1.0, "model_size_mb": 2.0} if kind == "weighted" else {})
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rows[picked(rows, rule, objectives)] == shuffled[picked(shuffled, rule, objectives)]


def test_the_best_within_limits_is_what_objectives_call_the_best() -> None:
    rows = [(0.5, 1), (0.9, 9), (0.9, 8), (0.7, 2)]
    best = order.best(trials(rows), BOTH)
    assert best is not None
    assert picked(rows, Rule()) == best.number
