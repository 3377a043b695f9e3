from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components.fairness.groups import Counts, as_groups, attributes, count
from components.spec import Bins
from nas_core.errors import InputError


def labels(column: pd.Series, *bins: Bins) -> list[str]:
    return [str(label) for label in as_groups(column.to_frame("x"), bins)["x"]]


def test_intersections_are_of_two_and_of_all() -> None:
    assert attributes(["a", "b", "c"], intersections=True) == [
        *[("a",), ("b",), ("c",)],
        *[("a", "b"), ("a", "c"), ("b", "c")],
        ("a", "b", "c"),
    ]


def test_two_columns_have_one_intersection() -> None:
    assert attributes(["a", "b"], intersections=True) == [("a",), ("b",), ("a", "b")]


def test_intersections_can_be_left_out() -> None:
    assert attributes(["a", "b"], intersections=False) == [("a",), ("b",)]


def test_bins_begin_at_their_edges() -> None:
    ages = pd.Series([24.9, 25.0, 39.0, 40.0, np.nan])
    assert labels(ages, Bins(column="x", edges=(25.0, 40.0))) == ["< 25", "25 to 40", "25 to 40", ">= 40", "missing"]


def test_edges_that_look_alike_in_short_stay_apart() -> None:
    cut = Bins(column="x", edges=(1000000.25, 1000000.5))
    assert labels(pd.Series([1.0, 1000000.3, 2e6]), cut) == ["< 1000000.25", "1000000.25 to 1000000.5", ">= 1000000.5"]


def test_numbers_without_bins_are_cut_at_their_quartiles() -> None:
    cut = as_groups(pd.DataFrame({"x": np.arange(100)}), [])["x"]
    assert cut.value_counts().to_dict() == {
        "< 24.75": 25,
        "24.75 to 49.5": 25,
        "49.5 to 74.25": 25,
        ">= 74.25": 25,
        "missing": 0,
    }


def test_quartiles_that_coincide_make_fewer_groups() -> None:
    gains = pd.Series([0] * 70 + list(range(1, 31)))
    assert set(labels(gains)) == {"< 5.25", ">= 5.25"}


def test_a_number_that_is_mostly_its_lowest_value_is_cut_above_it() -> None:
    gains = pd.Series([0] * 80 + list(range(100, 120)))
    assert set(labels(gains)) == {"< 100", ">= 100"}


def test_a_number_of_few_values_is_a_category_in_its_order() -> None:
    cut = as_groups(pd.DataFrame({"x": [10, 2, 2, 10]}), [])["x"]
    assert list(cut.cat.categories) == ["2", "10", "missing"]


def test_a_missing_category_is_a_group() -> None:
    assert labels(pd.Series(["a", None, "b"])) == ["a", "missing", "b"]


@pytest.mark.parametrize("kind", ["float32", "Int64", "object"])
def test_a_number_of_few_values_may_have_any_type(kind: str) -> None:
    assert labels(pd.Series([1, None, 3], dtype="Int64").astype(kind)) == ["1", "missing", "3"]


def test_bins_of_a_column_that_is_not_sensitive_are_refused() -> None:
    with pytest.raises(InputError, match=r"fairness\.bins: 'age' is not a sensitive column \(they are x\)"):
        labels(pd.Series([1.0]), Bins(column="age", edges=(2.0,)))


def test_bins_of_a_category_are_refused() -> None:
    with pytest.raises(InputError, match=r"fairness\.bins: 'x' is not numeric"):
        labels(pd.Series(["a"]), Bins(column="x", edges=(2.0,)))


def test_counts_are_those_of_the_rows() -> None:
    groups = as_groups(pd.DataFrame({"sex": list("fffmmm"), "old": [0, 1, 1, 1, 1, 1]}), [])
    targets, predicted = np.array([1, 0, 0, 1, 1, 0]), np.array([1, 1, 0, 0, 1, 0])
    assert count(targets, predicted, 1, groups, ["sex", "old"]) == [
        Counts(("f", "0"), rows=1, correct=1, positives=1, selected=1, hits=1),
        Counts(("f", "1"), rows=2, correct=1, positives=0, selected=1, hits=0),
        Counts(("m", "1"), rows=3, correct=2, positives=2, selected=1, hits=1),
    ]


def test_false_alarms_and_negatives_follow_from_the_counts() -> None:
    counts = Counts(("a",), rows=10, correct=7, positives=4, selected=5, hits=3)
    assert (counts.negatives, counts.false_alarms) == (6, 2)


def test_without_a_favourable_class_only_correctness_is_counted() -> None:
    groups = as_groups(pd.DataFrame({"x": ["a", "a"]}), [])
    assert count(np.array([2, 0]), np.array([2, 1]), None, groups, ["x"]) == [Counts(("a",), rows=2, correct=1)]


def test_bins_keep_their_order() -> None:
    groups = as_groups(pd.DataFrame({"x": [50, 5, 30]}), [Bins(column="x", edges=(10.0, 40.0))])
    rows = np.zeros(3, np.int64)
    assert [counts.group for counts in count(rows, rows, 0, groups, ["x"])] == [("< 10",), ("10 to 40",), (">= 40",)]
