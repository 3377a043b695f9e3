from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.drift.compare import Difference, differences, holm
from components.encoding import Column
from components.profile import Profile

NUMERIC = (Column("x", "numeric"),)
CATEGORICAL = (Column("x", "categorical"),)


def compare(before: object, after: object, columns: tuple[Column, ...]) -> list[Difference]:
    return differences(*(Profile.of(pd.DataFrame({"x": values}), columns) for values in (before, after)))


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(raw <= new <= min(1, len(p) * raw) + 1e-12 for raw, new in zip(p, adjusted, strict=True))
    assert [adjusted[i] for i in np.argsort(p, kind="stable")] == sorted(adjusted)


def test_the_effect_of_numbers_is_the_largest_gap_between_the_distributions() -> None:
    [found] = compare(np.arange(1000), np.arange(1000) + 250, NUMERIC)
    assert found.test == "Kolmogorov-Smirnov"
    assert found.effect == pytest.approx(0.25)
    assert found.p < 1e-20


def test_the_effect_of_categories_does_not_depend_on_the_number_of_rows() -> None:
    effects = [
        compare(["a"] * 50 * k + ["b"] * 50 * k, ["a"] * 140 + ["b"] * 60, CATEGORICAL)[0].effect for k in (1, 10, 1000)
    ]
    assert effects == pytest.approx([0.2041] * 3, abs=1e-4)


def test_categories_with_nothing_in_common_have_effect_1() -> None:
    [found] = compare(["a"] * 5000, ["b"] * 50, CATEGORICAL)
    assert found.effect == 1
    assert found.p < 1e-20


def test_many_unseen_categories_are_seen_together() -> None:
    before = ["a", "b"] * 500
    [found] = compare(before, ["a", "b"] * 80 + [f"new {i}" for i in range(40)], CATEGORICAL)
    assert found.p < 1e-10


@pytest.mark.parametrize("probabilities", [[0.005] * 200, [0.998, 0.002], [0.6, 0.399, 0.001]])
def test_rare_categories_raise_no_more_alarms_than_alpha_allows(probabilities: list[float]) -> None:
    # 200 windows, alpha .05 each: more than 20 alarms come with probability .0012
    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(len(probabilities))]
    draws = [[rng.choice(names, size, p=probabilities) for size in (2000, 200)] for _ in range(200)]
    assert sum(compare(before, after, CATEGORICAL)[0].p < 0.05 for before, after in draws) <= 20


def test_a_new_category_in_a_small_window_is_found_beside_a_large_reference() -> None:
    [found] = compare(["a"] * 60_000 + ["b"] * 40_000, ["a"] * 55 + ["b"] * 35 + ["c"] * 10, CATEGORICAL)
    assert found.p < 1e-10
    assert found.effect > 0.2


@pytest.mark.parametrize("columns", [NUMERIC, CATEGORICAL])
def test_equal_columns_do_not_differ(columns: tuple[Column, ...]) -> None:
    for values in ([1.0] * 300, [None] * 300, [0.0, 1.0, None] * 100):
        assert all(found.p > 0.99 and found.effect == 0 for found in compare(values, values, columns))


def test_numbers_that_go_missing_are_found() -> None:
    found = compare(np.arange(400.0), [None] * 400, NUMERIC)
    assert [(d.test, d.effect) for d in found] == [("chi-squared of missing", 1.0)]
