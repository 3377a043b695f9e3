from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import Strategy
from nas_core.objectives import dominates, hypervolume, key, pareto_front
from nas_core.strategies.nsga2 import NSGA2, crowded_order, crowding, fronts
from nas_core.strategies.random import Random
from nas_core.types import Architecture, Decision, Metrics, Objective, Proposal, Status, Trial

ACCURACY = Objective(metric="accuracy", goal="max")
LATENCY = Objective(metric="latency_ms", goal="min")
FAST = Objective(metric="latency_ms", goal="min", limit=10.0)


@dataclass(frozen=True)
class Grid:
    decisions: tuple[Decision, ...] = tuple(Decision(name=f"place_{i}", options=tuple("abcde")) for i in range(20))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


def ok(number: int, accuracy: float, latency_ms: float = 1.0, **changes: Any) -> Trial:
    """A finished trial of an architecture that is far from that of every other number."""
    architecture = algebra.sample(Grid(), np.random.default_rng(number))
    metrics = {"accuracy": accuracy, "latency_ms": latency_ms}
    trial = Trial(number=number, architecture=architecture, status=Status.OK, finished=number, metrics=metrics)
    return replace(trial, **changes)


def nsga2(population: int, *objectives: Objective, crossover: float = 0.9, seed: int = 0) -> NSGA2:
    return NSGA2(Grid(), objectives or (ACCURACY, LATENCY), seed, population=population, crossover=crossover)


def parents(proposals: Sequence[Proposal]) -> set[int]:
    return {number for proposal in proposals for number in proposal.parents}


figures = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 2.0])  # few values, so that ties are common
outcomes = st.fixed_dictionaries({"accuracy": figures, "latency_ms": figures})
goals = st.tuples(
    *(
        st.builds(Objective, metric=st.just(m), goal=st.sampled_from(["min", "max"]), limit=st.none() | figures)
        for m in ("accuracy", "latency_ms")
    )
)

# ---------------------------------------------------------------- sorting


@given(st.lists(outcomes, min_size=1, max_size=12), goals)
def test_fronts_are_peeled_off_one_after_another(rows: list[Metrics], objectives: tuple[Objective, ...]) -> None:
    expected, left = [], list(range(len(rows)))
    while left:
        front = [i for i in left if not any(dominates(rows[j], rows[i], objectives) for j in left)]
        expected.append(front)
        left = [i for i in left if i not in front]
    keys = np.array([key(row, objectives) for row in rows])
    assert [front.tolist() for front in fronts(keys)] == expected


def test_crowding_is_the_distance_between_the_neighbours_as_a_share_of_the_range() -> None:
    losses = np.array([[0.0, 8.0], [5.0, 3.0], [10.0, 0.0], [2.0, 4.0]])  # in order 0, 3, 1, 2
    expected = [np.inf, 8 / 10 + 4 / 8, np.inf, 5 / 10 + 5 / 8]
    assert crowding(losses).tolist() == pytest.approx(expected)


def test_crowding_of_an_objective_that_does_not_vary_is_that_of_the_others() -> None:
    losses = np.array([[0.0, 1.0], [4.0, 1.0], [10.0, 1.0]])
    assert crowding(losses).tolist() == [np.inf, 1.0, np.inf]


def test_two_of_a_front_are_both_ends() -> None:
    assert crowding(np.array([[0.0, 1.0], [1.0, 0.0]])).tolist() == [np.inf, np.inf]


def test_a_lower_front_comes_first_and_the_less_crowded_of_it() -> None:
    ends, between, dominated, outside = [(0.0, 5.0), (5.0, 0.0)], [(1.0, 4.0), (3.0, 2.0)], (9.0, 9.0), (0.0, 0.0)
    keys = [(1.0, *outside), (0.0, *dominated), *((0.0, *losses) for losses in between + ends)]
    assert crowded_order(keys, 6) == [4, 5, 3, 2, 1, 0]
    assert crowded_order(keys, 3) == [4, 5, 3]


# ---------------------------------------------------------------- the first population


def test_the_first_population_is_random_even_within_one_call() -> None:
    history = [ok(0, 0.5), ok(1, 0.6), Trial(number=2, architecture=(0,) * 20)]
    proposals = nsga2(5).propose(history, 6)
    assert [bool(p.parents) for p in proposals] == [False, False, True, True, True, True]
    assert proposals[0].why == (("drawn", "at random"),)


def test_failed_trials_are_replaced_in_the_first_population() -> None:
    failed = [Trial(number=i, architecture=(i, *(0,) * 19), status=Status.FAILED) for i in range(3)]
    assert parents(nsga2(3).propose([*failed, ok(3, 0.5), ok(4, 0.5)], 1)) == set()


def test_half_of_the_first_population_are_the_best_of_an_earlier_cycle() -> None:
    prior = [ok(i, i / 10, 1.0, origin=f"before#{i + 7}", finished=None) for i in range(6)]
    proposals = nsga2(4).propose(prior, 4)
    assert [p.architecture for p in proposals[:2]] == [prior[5].architecture, prior[4].architecture]
    assert [dict(p.why)["drawn"] for p in proposals] == ["as before#12", "as before#11", "at random", "at random"]
    again = [replace(ok(6, 0.1), architecture=prior[5].architecture)]
    assert dict(nsga2(4).propose([*prior, *again], 1)[0].why) == {"drawn": "as before#11"}


def test_trials_of_an_earlier_cycle_are_no_parents() -> None:
    prior = [ok(i, 0.9, origin=f"before#{i}") for i in range(5)]
    assert parents(nsga2(2).propose([*prior, ok(5, 0.1), ok(6, 0.2)], 30)) == {5, 6}


# ---------------------------------------------------------------- a child


def test_a_child_without_crossover_is_its_parent_mutated() -> None:
    history = [ok(i, 0.5, 0.5) for i in range(4)]
    proposals = nsga2(4, crossover=0.0).propose(history, 400)
    edits = [
        sum(a != b for a, b in zip(p.architecture, history[p.parents[0]].architecture, strict=True)) for p in proposals
    ]
    assert all(len(p.parents) == 1 and dict(p.why)["crossover"] == "none" for p in proposals)
    # One edit of 20 places on average; none would be the parent again, which is drawn anew, so 1 / (1 - 0.36).
    assert np.mean(edits) == pytest.approx(1.56, abs=0.2)


def test_a_child_with_crossover_takes_every_decision_from_a_parent_or_a_mutation() -> None:
    history = [ok(i, 0.5, 0.5) for i in range(4)]
    proposals = [p for p in nsga2(4, crossover=1.0).propose(history, 50) if len(p.parents) == 2]
    assert len(proposals) > 25
    for proposal in proposals:
        first, second = (history[number].architecture for number in proposal.parents)
        strange = [i for i, x in enumerate(proposal.architecture) if x not in {first[i], second[i]}]
        mutation = str(dict(proposal.why)["mutation"])
        assert all(f"place_{i}: " in mutation for i in strange)
        assert any(x != y for x, y in zip(proposal.architecture, first, strict=True))


def test_a_child_says_what_its_first_parent_came_to() -> None:
    why = dict(nsga2(2).propose([ok(0, 0.5, 3.0), ok(1, 0.5, 3.0)], 1)[0].why)
    assert {"parent.accuracy": 0.5, "parent.latency_ms": 3.0}.items() <= why.items()


def test_of_two_drawn_the_better_one_is_a_parent() -> None:
    """The worst of 3 wins only a tournament against itself: with probability 1/9, twice in a child 1/81."""
    history = [ok(0, 0.9), ok(1, 0.8), ok(2, 0.7)]
    firsts = [p.parents[0] for p in nsga2(3).propose(history, 900)]
    shares = [firsts.count(i) / 900 for i in range(3)]
    assert shares == pytest.approx([5 / 9, 3 / 9, 1 / 9], abs=0.06)  # 3.6 standard deviations


# ---------------------------------------------------------------- generations


def test_who_is_dominated_dies_and_who_is_on_the_front_lives() -> None:
    front = [ok(0, 0.9, 9.0), ok(1, 0.5, 5.0), ok(2, 0.1, 1.0)]
    dominated = [ok(i, 0.05, 9.5 + i) for i in range(3, 6)]
    assert parents(nsga2(3).propose([*front, *dominated], 60)) == {0, 1, 2}


def test_the_most_crowded_of_the_front_dies() -> None:
    history = [ok(0, 0.9, 9.0), ok(1, 0.3, 3.0), ok(2, 0.1, 1.0), ok(3, 0.5, 5.0)]
    assert parents(nsga2(3).propose(history, 60)) == {0, 2, 3}


def test_the_newest_compete_before_their_generation_is_complete() -> None:
    history = [ok(i, 0.5, 5.0) for i in range(4)]
    assert 4 in parents(nsga2(4).propose([*history, ok(4, 0.9, 1.0)], 30))


def test_generations_are_in_the_order_of_completion() -> None:
    """Of equals those that finished first are kept."""
    history = [ok(i, 0.5, 5.0, finished=9 - i) for i in range(6)]
    assert parents(nsga2(3).propose(history, 60)) == {3, 4, 5}


def test_whoever_keeps_the_limits_beats_whoever_does_not() -> None:
    slow = [ok(i, 0.9, 11.0 + i) for i in range(3)]
    kept = [ok(3, 0.1, 10.0), ok(4, 0.2, 9.0)]
    assert parents(nsga2(2, ACCURACY, FAST).propose([*slow, *kept], 30)) == {3, 4}
    assert parents(nsga2(2, ACCURACY, FAST).propose([*slow], 30)) == {0, 1}


@pytest.mark.parametrize(
    "outsider",
    [
        ok(2, 0.99, status=Status.PRUNED),
        ok(2, 0.99, fidelity=0.5),
        ok(2, 0.99, status=Status.FAILED, metrics=None),
        ok(2, 0.99, status=Status.PENDING, metrics=None, finished=None),
    ],
)
def test_only_what_finished_in_full_is_a_parent(outsider: Trial) -> None:
    assert parents(nsga2(2).propose([ok(0, 0.1), ok(1, 0.2), outsider], 30)) == {0, 1}


# ---------------------------------------------------------------- does it search


def searched(strategy: Strategy, budget: int, measure: Any) -> list[Trial]:
    history: list[Trial] = []
    while len(history) < budget:
        (proposal,) = strategy.propose(history, 1)
        number = len(history)
        trial = Trial(number=number, architecture=proposal.architecture, parents=proposal.parents, status=Status.OK)
        history.append(replace(trial, finished=number, metrics=measure(proposal.architecture)))
    return history


def test_it_finds_a_front_that_random_search_does_not() -> None:
    """Options a to e are 0 to 4 parts of accuracy or of speed: the front is what has no option between."""

    def measure(architecture: Architecture) -> Metrics:
        return {
            "accuracy": float(sum(x == 4 for x in architecture)),
            "latency_ms": float(sum(x != 0 for x in architecture)),
        }

    def front(strategy: Strategy) -> set[tuple[float, ...]]:
        found = pareto_front(searched(strategy, 600, measure), [ACCURACY, LATENCY])
        return {tuple(trial.metrics.values()) for trial in found if trial.metrics}

    on_front = {(float(i), float(i)) for i in range(21)}
    assert len(front(nsga2(20)) & on_front) >= 10
    assert not front(Random(Grid(), [ACCURACY, LATENCY], 0)) & on_front


class Cells:
    """NAS-Bench-201's 15,625 cells: one of five operations on each of six edges."""

    decisions = tuple(Decision(name=f"edge_{i}", options=tuple("01234")) for i in range(6))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


def test_it_covers_more_of_accuracy_against_latency_than_random_search(data: Path) -> None:
    """NAS-Bench-201, CIFAR-10, 150 evaluations: one-sided Welch test over 12 seeds at alpha = 0.001."""
    with np.load(data / "nb201.npz", allow_pickle=False) as table:
        rows = [tuple(map(int, ops)) for ops in table["ops"]]
        figures = zip(table["cifar10/val_acc_200"] / 100, table["cifar10/gpu_latency_s"] * 1000, strict=True)
        known = {row: {"accuracy": float(a), "latency_ms": float(b)} for row, (a, b) in zip(rows, figures, strict=True)}

    def volume(strategy: Strategy) -> float:
        return hypervolume(searched(strategy, 150, known.__getitem__), [ACCURACY, LATENCY], [0.8, 20])

    ours = [volume(NSGA2(Cells(), [ACCURACY, LATENCY], seed)) for seed in range(12)]
    random = [volume(Random(Cells(), [ACCURACY, LATENCY], seed)) for seed in range(12)]
    assert ttest_ind(ours, random, equal_var=False, alternative="greater").pvalue < 0.001


# ---------------------------------------------------------------- edges


def test_the_time_of_a_proposal_grows_no_faster_than_the_history() -> None:
    """Four times the trials take at most eight times as long: four and a margin for noise; squared would be sixteen."""
    accuracy = np.random.default_rng(0).random(1000)
    history = [ok(i, float(accuracy[i]), float(accuracy[-i])) for i in range(1000)]
    strategy = nsga2(20)

    def seconds(trials: int) -> float:
        taken = []
        for _ in range(5):
            start = time.process_time()
            strategy.propose(history[:trials], 1)
            taken.append(time.process_time() - start)
        return min(taken)

    assert seconds(1000) < 8 * seconds(250)


def test_a_space_of_one_architecture_is_soon_exhausted() -> None:
    space = Grid((Decision(name="only", options=("a",)),))
    strategy = NSGA2(space, [ACCURACY], 0, population=2)
    assert [p.architecture for p in strategy.propose([], 3)] == [(0,)]
    assert strategy.propose([ok(0, 0.5, architecture=(0,))], 3) == []


def test_a_metric_that_nobody_measured_is_named() -> None:
    with pytest.raises(InputError, match="no metric 'f1' was measured; choose one of accuracy, latency_ms"):
        nsga2(2, Objective(metric="f1", goal="max")).propose([ok(0, 0.1), ok(1, 0.2)], 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 1}, "population: must be >= 2, got 1"),
        ({"crossover": 1.5}, "crossover: must be a probability from 0 to 1, got 1.5"),
        ({"crossover": -0.1}, "crossover: must be a probability from 0 to 1, got -0.1"),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NSGA2(Grid(), [ACCURACY], 0, **options)


def test_a_cache_of_generations_changes_no_answer() -> None:
    history = [ok(i, i % 7 / 10, i % 5) for i in range(40)]
    strategy = nsga2(4)
    later = strategy.propose(history, 3)
    assert strategy.propose(history[:17], 3) == nsga2(4).propose(history[:17], 3)
    assert strategy.propose(history, 3) == later
