from __future__ import annotations

import pytest

from nas_core.errors import InputError
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.strategies.derived import Derived
from nas_core.types import Architecture, Port, Proposal, Signature, Status, Trial

IMAGES = Signature(inputs=(Port(name="image", shape=(3, 8, 8)),), outputs=(Port(name="label", shape=(4,), classes=4),))
SPACE = NasBench201(IMAGES)
BEST, SECOND, TWIN_OF_BEST = (3, 0, 0, 0, 1, 0), (2, 2, 2, 2, 2, 2), (0, 3, 0, 0, 0, 1)


def strategy(*candidates: Architecture) -> Derived:
    return Derived(SPACE, (), 0, candidates=candidates)


def trial(architecture: Architecture, origin: str = "") -> Trial:
    return Trial(number=0, architecture=architecture, status=Status.FAILED, origin=origin)


def test_candidates_come_best_first_as_they_were_given() -> None:
    assert strategy(BEST, SECOND).propose([], 5) == [
        Proposal(architecture=BEST, why=(("rank", 0.0),)),
        Proposal(architecture=SECOND, why=(("rank", 1.0),)),
    ]
    assert [p.architecture for p in strategy(BEST, SECOND).propose([], 1)] == [BEST]


def test_what_was_tried_by_itself_or_a_twin_is_not_proposed_again() -> None:
    assert [p.architecture for p in strategy(BEST, SECOND).propose([trial(TWIN_OF_BEST)], 5)] == [SECOND]


def test_what_an_earlier_cycle_tried_is() -> None:
    assert len(strategy(BEST).propose([trial(BEST, origin="old#1")], 5)) == 1


def test_twins_are_one_candidate() -> None:
    assert [p.architecture for p in strategy(BEST, TWIN_OF_BEST, SECOND).propose([], 5)] == [BEST, SECOND]


def test_without_candidates_there_is_nothing_to_propose() -> None:
    assert strategy().propose([], 5) == []


def test_a_candidate_of_another_space_is_refused() -> None:
    with pytest.raises(InputError, match=r"candidates\[1\]\.architecture: must have one option per decision, 6 in all"):
        strategy(BEST, (1, 2))
