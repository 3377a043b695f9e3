from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.strategies.evolution import RegularizedEvolution
from nas_core.types import Architecture, Decision, Objective, Proposal, Status, Trial

ACCURACY = Objective(metric="accuracy", goal="max")


@dataclass(frozen=True)
class Grid:
    decisions: tuple[Decision, ...] = tuple(Decision(name=f"place_{i}", options=tuple("abcde")) for i in range(20))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


def ok(number: int, accuracy: float, **changes: Any) -> Trial:
    """A finished trial of an architecture that is far from that of every other number."""
    architecture = algebra.sample(Grid(), np.random.default_rng(number))
    metrics = {"accuracy": accuracy, "latency_ms": 1.0}
    trial = Trial(number=number, architecture=architecture, status=Status.OK, finished=number, metrics=metrics)
    return replace(trial, **changes)


def evolution(population: int, sample: int, *objectives: Objective, seed: int = 0) -> RegularizedEvolution:
    return RegularizedEvolution(Grid(), objectives or (ACCURACY,), seed, population=population, sample=sample)


def parents(proposals: Sequence[Proposal]) -> set[int]:
    return {number for proposal in proposals for number in proposal.parents}


KEEN = 500
"""A tournament that all members of a small population take part in, but with a probability below 1e-40."""

# ---------------------------------------------------------------- the first population


def test_the_first_population_is_random_even_within_one_call() -> None:
    history = [ok(0, 0.5), ok(1, 0.6), Trial(number=2, architecture=(0,) * 20)]
    proposals = evolution(5, 3).propose(history, 6)
    assert [len(p.parents) for p in proposals] == [0, 0, 1, 1, 1, 1]
    assert proposals[0].why == (("drawn", "at random"),)


def test_failed_trials_are_replaced_in_the_first_population() -> None:
    failed = [Trial(number=i, architecture=(i, *(0,) * 19), status=Status.FAILED) for i in range(3)]
    assert parents(evolution(3, 2).propose([*failed, ok(3, 0.5), ok(4, 0.5)], 1)) == set()


def test_while_all_is_pending_proposals_are_random() -> None:
    pending = [Trial(number=i, architecture=(i, *(0,) * 19)) for i in range(5)]
    assert parents(evolution(5, 2).propose(pending, 3)) == set()


# ---------------------------------------------------------------- a child


def test_a_child_is_one_edit_from_its_parent_and_says_why() -> None:
    history = [ok(i, i / 10) for i in range(5)]
    (child,) = evolution(5, KEEN).propose(history, 1)
    parent = history[4]
    assert child.parents == (4,)
    assert child.architecture in set(algebra.neighbours(Grid(), parent.architecture))
    why = dict(child.why)
    place = next(i for i in range(20) if child.architecture[i] != parent.architecture[i])
    old, new = ("abcde"[a[place]] for a in (parent.architecture, child.architecture))
    assert why == {"mutation": f"place_{place}: {old} -> {new}", "tournament": float(KEEN), "parent.accuracy": 0.4}


def test_a_tournament_of_one_takes_any_member() -> None:
    history = [ok(i, i / 10) for i in range(5)]
    assert parents(evolution(5, 1).propose(history, 100)) == {0, 1, 2, 3, 4}


def test_rivals_are_drawn_with_replacement() -> None:
    """Of a tournament of 5 among 5 without replacement, the best would always win."""
    history = [ok(i, i / 10) for i in range(5)]
    assert len(parents(evolution(5, 5).propose(history, 100))) > 1


def test_where_a_mutation_is_known_the_same_parent_mutates_again() -> None:
    """Of the first member's 80 neighbours 8 are left: eight mutations find one of these with probability 0.57.

    So it is the parent of 36 % of proposals, and would be of 9 % if there were a tournament for every mutation.
    """
    members = [ok(0, 0.5), ok(1, 0.5)]
    known = list(algebra.neighbours(Grid(), members[0].architecture))[8:]
    failed = [Trial(number=i, architecture=a, status=Status.FAILED) for i, a in enumerate(known, 2)]
    proposals = [evolution(2, 1, seed=seed).propose([*members, *failed], 1)[0] for seed in range(100)]
    assert np.mean([proposal.parents == (0,) for proposal in proposals]) > 0.2


# ---------------------------------------------------------------- ageing


def test_the_oldest_dies_however_good_it_is() -> None:
    history = [ok(0, 0.99), *(ok(i, i / 10) for i in range(1, 6))]
    assert parents(evolution(5, KEEN).propose(history, 10)) == {5}


def test_age_is_the_order_of_completion() -> None:
    history = [ok(0, 0.99, finished=5), *(ok(i, i / 10, finished=i - 1) for i in range(1, 6))]
    assert parents(evolution(5, KEEN).propose(history, 10)) == {0}
    assert parents(evolution(1, KEEN).propose(history, 10)) == {0}


@pytest.mark.parametrize("finished", [None, 0, 77])
def test_trials_of_an_earlier_cycle_are_the_oldest_members(finished: int | None) -> None:
    prior = ok(0, 0.99, origin="before#7", finished=finished)
    assert parents(evolution(3, KEEN).propose([prior, ok(1, 0.1), ok(2, 0.2)], 5)) == {0}
    assert parents(evolution(2, KEEN).propose([prior, ok(1, 0.1), ok(2, 0.2)], 5)) == {2}


@pytest.mark.parametrize(
    "outsider",
    [
        ok(2, 0.99, status=Status.PRUNED),
        ok(2, 0.99, fidelity=0.5),
        ok(2, 0.99, status=Status.FAILED, metrics=None),
        ok(2, 0.99, status=Status.PENDING, metrics=None, finished=None),
    ],
)
def test_only_what_finished_in_full_is_a_member(outsider: Trial) -> None:
    assert parents(evolution(2, KEEN).propose([ok(0, 0.1), ok(1, 0.2), outsider], 5)) == {1}


# ---------------------------------------------------------------- objectives


def test_a_member_within_the_limits_beats_one_outside() -> None:
    fast = Objective(metric="latency_ms", goal="min", limit=10.0)
    slow = ok(0, 0.99, metrics={"accuracy": 0.99, "latency_ms": 11.0})
    assert parents(evolution(3, KEEN, ACCURACY, fast).propose([slow, ok(1, 0.1), ok(2, 0.2)], 5)) == {2}


def test_a_metric_that_nobody_measured_is_named() -> None:
    with pytest.raises(InputError, match="no metric 'f1' was measured; choose one of accuracy, latency_ms"):
        evolution(2, 2, Objective(metric="f1", goal="max")).propose([ok(0, 0.1), ok(1, 0.2)], 1)


# ---------------------------------------------------------------- edges


def test_a_space_of_one_architecture_is_soon_exhausted() -> None:
    space = Grid((Decision(name="only", options=("a",)),))
    strategy = RegularizedEvolution(space, [ACCURACY], 0, population=1)
    assert [p.architecture for p in strategy.propose([], 3)] == [(0,)]
    assert strategy.propose([ok(0, 0.5, architecture=(0,))], 3) == []


@pytest.mark.parametrize("option", ["population", "sample"])
def test_an_option_below_one_is_refused(option: str) -> None:
    with pytest.raises(InputError, match=f"{option}: must be >= 1, got 0"):
        RegularizedEvolution(Grid(), [ACCURACY], 0, **{option: 0})
