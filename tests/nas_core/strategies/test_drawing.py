from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.strategies._drawing import Draw, Drawing
from nas_core.strategies.evolution import RegularizedEvolution
from nas_core.strategies.random import Random
from nas_core.types import Architecture, Decision, Objective, Proposal, Status, Trial

ACCURACY = [Objective(metric="accuracy", goal="max")]


class Grid:
    """`places` independent decisions between `options`."""

    def __init__(self, places: int, options: int) -> None:
        names = tuple(map(str, range(options)))
        self.decisions = tuple(Decision(name=f"place_{i}", options=names) for i in range(places))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


class Stubborn(Drawing):
    """Draws one and the same architecture for ever."""

    def _drawing(self, _history: Sequence[Trial], _rng: np.random.Generator, /) -> Draw:
        return lambda _: Proposal(architecture=(0,) * len(self._space.decisions), why=(("drawn", "as ever"),))


def tried(*architectures: Architecture, fidelity: float = 1.0) -> list[Trial]:
    return [Trial(number=i, architecture=a, fidelity=fidelity) for i, a in enumerate(architectures)]


def test_what_is_not_drawn_is_found_by_a_walk_each_once() -> None:
    space = Grid(3, 2)
    proposals = Stubborn(space, ACCURACY, 0).propose([], 100)
    assert proposals[0].why == (("drawn", "as ever"),)
    assert all("left over" in str(proposal.why) for proposal in proposals[1:])
    assert sorted(p.architecture for p in proposals) == list(algebra.architectures(space))


def test_nothing_is_proposed_when_all_is_known() -> None:
    space = Grid(3, 2)
    assert Stubborn(space, ACCURACY, 0).propose(tried(*algebra.architectures(space)), 1) == []


def test_the_walk_ends_early_in_a_huge_space() -> None:
    proposals = Stubborn(Grid(50, 5), ACCURACY, 0).propose(tried((0,) * 50), 100)
    assert len({p.architecture for p in proposals}) == 100


def test_the_walk_begins_anywhere() -> None:
    firsts = {Stubborn(Grid(50, 5), ACCURACY, seed).propose(tried((0,) * 50), 1)[0].architecture for seed in range(5)}
    assert len(firsts) == 5


def test_a_twin_of_what_is_known_is_known() -> None:
    class Unordered(Grid):
        def canonical(self, architecture: Architecture) -> Architecture:
            return tuple(sorted(architecture))

    proposals = Stubborn(Unordered(2, 3), ACCURACY, 0).propose(tried((2, 0), (1, 1)), 100)
    assert sorted(tuple(sorted(p.architecture)) for p in proposals) == [(0, 0), (0, 1), (1, 2), (2, 2)]


def test_another_fidelity_is_another_trial() -> None:
    history = tried((0, 0), fidelity=0.5)
    assert Stubborn(Grid(2, 2), ACCURACY, 0).propose(history, 1)[0].architecture == (0, 0)


def test_a_draw_is_told_how_many_are_made() -> None:
    class Counting(Drawing):
        def _drawing(self, _history: Sequence[Trial], _rng: np.random.Generator, /) -> Draw:
            return lambda made: Proposal(architecture=(made,))

    proposals = Counting(Grid(1, 9), ACCURACY, 0).propose([], 4)
    assert [p.architecture for p in proposals] == [(0,), (1,), (2,), (3,)]


def test_nothing_is_drawn_for_nothing() -> None:
    assert Random(Grid(2, 2), ACCURACY, 0).propose([], 0) == []


@pytest.mark.parametrize(
    ("objectives", "seed", "message"),
    [([], 0, "objectives: at least one is needed"), (ACCURACY, -1, "seed: must be >= 0, got -1")],
)
def test_bad_arguments_are_refused(objectives: list[Objective], seed: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Random(Grid(2, 2), objectives, seed)


def test_an_unsound_space_is_refused() -> None:
    with pytest.raises(InputError, match="options: place_0 needs distinct options"):
        Random(Grid(2, 0), ACCURACY, 0)


@pytest.mark.parametrize("make", [Random, RegularizedEvolution, Stubborn])
def test_the_time_of_a_proposal_grows_no_faster_than_the_history(make: type[Drawing]) -> None:
    """Four times the trials take at most eight times as long: four and a margin for noise; squared would be sixteen."""
    space = Grid(12, 4)
    rng = np.random.default_rng(0)
    history = [
        Trial(
            number=i,
            architecture=algebra.sample(space, rng),
            status=Status.OK,
            finished=i,
            metrics={"accuracy": rng.uniform()},
        )
        for i in range(1000)
    ]
    strategy = make(space, ACCURACY, 0)

    def seconds(trials: int) -> float:
        taken = []
        for _ in range(5):
            start = time.process_time()
            strategy.propose(history[:trials], 1)
            taken.append(time.process_time() - start)
        return min(taken)

    assert seconds(1000) < 8 * seconds(250)
