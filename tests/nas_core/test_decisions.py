from __future__ import annotations

import pytest

from nas_core.decisions import check_decisions
from nas_core.errors import InputError
from nas_core.types import Decision

DEPTH = Decision(name="depth", options=("1", "2", "3"), attributes=((1.0,), (2.0,), (3.0,)))


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (Decision(name="depth", options=("a",)), r"decisions\[1\].name: must be unique and not empty, got 'depth'"),
        (Decision(name="", options=("a",)), r"decisions\[1\].name: must be unique and not empty, got ''"),
        (Decision(name="x", options=()), r"decisions\[1\].options: x needs distinct options, got \(\)"),
        (Decision(name="x", options=("a", "a")), r"options: x needs distinct options"),
        (Decision(name="x", options=("a", "b"), attributes=((1.0,),)), "x needs one row per option"),
        (Decision(name="x", options=("a", "b"), attributes=((1.0,), (1.0, 2.0))), "all equally long"),
        (Decision(name="x", options=("a",), attributes=((float("nan"),),)), "x needs finite numbers"),
        (
            Decision(name="x", options=("a",), active_if=((1, frozenset({0})),)),
            "may depend on decisions before it",
        ),
        (
            Decision(name="x", options=("a",), active_if=((-1, frozenset({0})),)),
            "may depend on decisions before it",
        ),
        (Decision(name="x", options=("a",), active_if=((0, frozenset({3})),)), r"options of depth by index \(0 to 2\)"),
        (Decision(name="x", options=("a",), active_if=((0, frozenset()),)), r"by index \(0 to 2\), got \[\]"),
    ],
)
def test_unsound_decisions_are_refused_by_name(decision: Decision, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_decisions((DEPTH, decision))


def test_sound_decisions_pass() -> None:
    check_decisions((DEPTH, Decision(name="width", options=("8",), active_if=((0, frozenset({1, 2})),))))
