"""How a person names a candidate."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.audit.candidate import find
from components.run import Run
from nas_core.errors import InputError


def test_by_number_in_the_latest_run_and_in_any(searched: Run) -> None:
    assert [find(name, searched.root)[1] for name in ("latest#12", "one#12", "12", f"{searched.folder}#12")] == [12] * 4
    assert find("latest#12", searched.root)[0].id == "one"


def test_by_the_beginning_of_an_id_the_trial_that_came_furthest_is_meant(searched: Run) -> None:
    search = searched.results()["search"]
    identity = search["architecture_id"]
    for digits in (identity, identity[:4], identity[:9]):
        assert find(f"one#{digits}", searched.root)[1] == search["trial"]
    other, _ = searched.names((1, 0, 0, 0, 0, 3, 1, 0))
    assert find(other[:6], searched.root)[1] == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("one#24", "has the trials 0 to 23"),
        ("one#-1", "has the trials 0 to 23"),
        ("one#abc", "4 or more of the hex digits"),
        ("one#ffffffffffff", "no trial of run one has an architecture whose id begins with ffffffffffff"),
        ("seven#1", "there is no run 'seven'"),
        ("", "has the trials 0 to 23"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(searched: Run, name: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        find(name, searched.root)


def test_a_root_without_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="latest"):
        find("12", tmp_path)
