"""Architectures as numbers: what makes two of them differ, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest

from nas_core import space as algebra
from nas_core.strategies._architecture_features import Encoder, activity, as_options
from nas_core.types import Architecture, Decision

WIDTH = Decision(name="width", options=("16", "32", "64", "128"), attributes=((16.0,), (32.0,), (64.0,), (128.0,)))
OPERATIONS = ("none", "conv", "pool")
IS_CONVOLUTION = ((0.0,), (1.0,), (0.0,))


@dataclass(frozen=True)
class Plain:
    decisions: tuple[Decision, ...]

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Counted(Plain):
    def features(self, architecture: Architecture) -> Mapping[str, float]:
        return {"sum": float(sum(architecture)), "always": 1.0}


def encoder(space: Plain) -> Encoder:
    return Encoder(space, as_options(list(algebra.architectures(space)), len(space.decisions)))


def codes(space: Plain, *architectures: Architecture) -> np.ndarray[Any, Any]:
    """The nonlinear columns, side by side."""
    made = encoder(space)
    return made(as_options(architectures, len(space.decisions)))[:, : len(made.columns.nonlinear)]


def distance(space: Plain, a: Architecture, b: Architecture) -> float:
    first, second = codes(space, a, b)
    return float(((first - second) ** 2).sum())


def operations(n: int) -> Plain:
    return Plain(tuple(Decision(name=f"op{i}", options=OPERATIONS, attributes=IS_CONVOLUTION) for i in range(n)))


def test_ordered_options_differ_by_their_ranks() -> None:
    space = Plain((WIDTH,))
    near, far, further = (distance(space, (0,), (i,)) for i in (1, 2, 3))
    assert near < far < further
    assert distance(space, (2,), (3,)) == pytest.approx(near)


def test_options_without_attributes_differ_alike() -> None:
    space = Plain((Decision(name="op", options=OPERATIONS),))
    assert distance(space, (0,), (1,)) == pytest.approx(distance(space, (0,), (2,)))


def test_operations_are_nearer_the_more_attributes_they_share() -> None:
    space = operations(2)
    assert distance(space, (0, 0), (2, 0)) < distance(space, (0, 0), (1, 0))


@pytest.mark.parametrize("space", [Plain((WIDTH, WIDTH)), operations(3), Counted((WIDTH, WIDTH))])
def test_each_part_is_expected_to_be_a_distance_of_one(space: Plain) -> None:
    everyone = list(algebra.architectures(space))
    all_codes = codes(space, *everyone)
    expected = 2 * all_codes.var(axis=0).sum()
    assert expected == pytest.approx(3 if isinstance(space, Counted) else 2)


def test_repeated_operations_share_relevances_and_lone_numbers_do_not() -> None:
    per_operation = len(OPERATIONS) + 1  # each option, and the attribute
    assert encoder(operations(3)).columns.counts == (3 + per_operation, 0)
    other = Decision(name="other", options=WIDTH.options, attributes=WIDTH.attributes)
    assert encoder(Plain((WIDTH, other))).columns.counts == (2 + 2, 2)


def test_features_and_lone_numbers_enter_linearly_with_a_variance_of_one() -> None:
    space = Counted((WIDTH, Decision(name="op", options=OPERATIONS)))
    made = encoder(space)
    linear = made.reference[:, len(made.columns.nonlinear) :]
    assert linear.shape[1] == 3
    assert linear.var(axis=0) == pytest.approx([1 / 3, 1 / 3, 0])


def test_an_inactive_decision_is_between_its_options() -> None:
    behind = Decision(
        name="width", options=WIDTH.options, attributes=WIDTH.attributes, active_if=((0, frozenset({1})),)
    )
    space = Plain((Decision(name="gate", options=("off", "on")), behind))
    off, first, last = codes(space, (0, 0), (1, 0), (1, 3))
    assert ((off - first) ** 2).sum() == pytest.approx(((off - last) ** 2).sum())


def test_activity_is_that_of_the_algebra() -> None:
    chained = (
        Decision(name="a", options=("0", "1", "2")),
        Decision(name="b", options=("0", "1"), active_if=((0, frozenset({1, 2})),)),
        Decision(name="c", options=("0", "1"), active_if=((0, frozenset({2})), (1, frozenset({1})))),
    )
    space = Plain(chained)
    everyone = list(product(range(3), range(2), range(2)))
    assert [tuple(row) for row in activity(chained, as_options(everyone, 3)).tolist()] == [
        algebra.active(space, architecture) for architecture in everyone
    ]
