from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric, _validate_param, _validate_tag

from components.backends.mlflow_limits import LONGEST_PARAM, LONGEST_TAG, cut, named, slices

awkward = st.text(st.sampled_from("ab/.. :-_[]é\n"), max_size=6) | st.text(max_size=300)


@given(st.lists(awkward, max_size=8))
def test_every_name_becomes_one_that_mlflow_takes_and_stays_its_own(names: list[str]) -> None:
    found = named(names)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(found)
    for name in found.values():
        _validate_metric(name, 1.0, 0, 0)
        _validate_param(name, "value")


@pytest.mark.parametrize("name", ["accuracy", "loss/train", "edge 0-1: op", "a.b_c", "évaluation"])
def test_a_name_stays_as_like_itself_as_may_be(name: str) -> None:
    assert named([name])[name] == name.replace("é", "_")


def test_names_that_only_differ_in_what_is_not_allowed_are_told_apart() -> None:
    assert named(["top@1", "top#1", "top@1"]) == {"top@1": "top_1", "top#1": "top_1_"}


def test_a_long_value_shows_that_it_was_cut() -> None:
    assert cut("x" * LONGEST_TAG, LONGEST_TAG) == "x" * LONGEST_TAG
    long = cut("x" * (LONGEST_TAG + 1), LONGEST_TAG)
    assert len(long) == LONGEST_TAG
    assert long.endswith("x…")


@pytest.mark.parametrize(("longest", "validate"), [(LONGEST_PARAM, _validate_param), (LONGEST_TAG, _validate_tag)])
def test_the_limits_are_mlflows(monkeypatch: pytest.MonkeyPatch, longest: int, validate: object) -> None:
    monkeypatch.setenv("MLFLOW_TRUNCATE_LONG_VALUES", "false")
    assert callable(validate)
    validate("name", "x" * longest)
    with pytest.raises(Exception, match="exceeds"):
        validate("name", "x" * (longest + 1))


def test_slices_hold_everything_in_order() -> None:
    assert [list(part) for part in slices(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(slices([], 3)) == []
