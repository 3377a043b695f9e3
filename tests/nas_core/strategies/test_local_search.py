from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.objectives import key
from nas_core.strategies.local_search import LocalSearch, _climbs
from nas_core.types import Architecture, Decision, Objective, Proposal, Status, Trial

ACCURACY = Objective(metric="accuracy", goal="max")


@dataclass(frozen=True)
class Grid:
    decisions: tuple[Decision, ...] = tuple(Decision(name=f"place_{i}", options=tuple("abcde")) for i in range(6))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


SMALL = Grid(tuple(Decision(name=f"place_{i}", options=tuple("abc")) for i in range(2)))
"""Nine architectures of four neighbours each."""

BOX = Grid(tuple(Decision(name=f"place_{i}", options=("0", "1")) for i in range(6)))


def ok(number: int, accuracy: float, architecture: Architecture, parent: int | None = None, **changes: Any) -> Trial:
    metrics = {"accuracy": accuracy, "latency_ms": 1.0}
    trial = Trial(number=number, architecture=architecture, status=Status.OK, finished=number, metrics=metrics)
    return replace(trial, parents=() if parent is None else (parent,), **changes)


def climber(starts: int = 1, *objectives: Objective, space: Any = None, seed: int = 0) -> LocalSearch:
    return LocalSearch(space or Grid(), objectives or (ACCURACY,), seed, starts=starts)


def parents(proposals: Sequence[Proposal]) -> list[tuple[int, ...]]:
    return [proposal.parents for proposal in proposals]


def played(
    strategy: LocalSearch, figure: Callable[[Architecture], float], budget: int, batch: int = 1, delay: int = 0
) -> list[Trial]:
    """Return the trials of a search; each outcome arrives `delay` calls after it could have."""
    history: list[Trial] = []
    calls: list[range] = []
    finished = 0
    while len(history) < budget:
        proposals = strategy.propose(history, batch)
        if not proposals:
            break
        calls.append(range(len(history), len(history) + len(proposals)))
        history += [
            Trial(number=number, architecture=p.architecture, parents=p.parents)
            for number, p in zip(calls[-1], proposals, strict=True)
        ]
        for number in calls[-1 - delay] if len(calls) > delay else ():
            metrics = {"accuracy": figure(history[number].architecture)}
            history[number] = replace(history[number], status=Status.OK, metrics=metrics, finished=finished)
            finished += 1
    return history


# ---------------------------------------------------------------- starts


def test_a_climb_begins_with_random_starts() -> None:
    proposals = climber(starts=4).propose([], 4)
    assert parents(proposals) == [()] * 4
    assert proposals[0].why == (("start", "at random"),)
    assert climber(starts=4, seed=1).propose([], 4) != proposals


def test_it_climbs_from_the_best_start() -> None:
    history = [ok(0, 0.1, (0,) * 6), ok(1, 0.5, (1,) * 6), ok(2, 0.3, (2,) * 6)]
    assert parents(climber(starts=3).propose(history, 3)) == [(1,)] * 3


def test_starts_that_failed_are_replaced_and_pending_ones_count() -> None:
    history = [
        ok(0, 0.1, (0,) * 6),
        Trial(number=1, architecture=(1,) * 6, status=Status.FAILED, finished=1),
        Trial(number=2, architecture=(2,) * 6),
    ]
    assert parents(climber(starts=3).propose(history, 2)) == [(), (0,)]


def test_with_no_start_measured_there_is_nothing_to_climb_from() -> None:
    assert parents(climber().propose([Trial(number=0, architecture=(0,) * 6)], 2)) == [(), ()]


def test_a_start_that_fails_once_the_climb_moves_does_not_end_it() -> None:
    history = [
        ok(0, 0.5, (0,) * 6),
        Trial(number=1, architecture=(1,) * 6, status=Status.FAILED, finished=2),
        ok(2, 0.4, (0, 0, 0, 0, 0, 1), parent=0),
    ]
    assert parents(climber(starts=2).propose(history, 2)) == [(0,), (0,)]


def test_the_first_climb_starts_at_the_best_of_an_earlier_cycle() -> None:
    prior = [ok(i, i / 10, (i,) * 6, origin=f"before#{i + 7}") for i in range(4)]
    proposals = climber(starts=2).propose(prior, 2)
    assert [p.architecture for p in proposals] == [(3,) * 6, (2,) * 6]
    assert proposals[0].why == (("start", "as before#10"),)
    assert parents(proposals) == [(), ()]
    once_more = [*prior, ok(4, 0.1, (3,) * 6), ok(5, 0.2, (2,) * 6)]
    assert parents(climber(starts=2).propose(once_more, 1)) == [(5,)]


# ---------------------------------------------------------------- moves


def test_neighbours_are_tried_in_random_order_and_say_why() -> None:
    history = [ok(0, 0.5, (0,) * 6)]
    (proposal,) = climber().propose(history, 1)
    place = next(i for i in range(6) if proposal.architecture[i])
    edit = f"place_{place}: a -> {'abcde'[proposal.architecture[place]]}"
    assert dict(proposal.why) == {"mutation": edit, "parent.accuracy": 0.5}
    assert len({climber(seed=s).propose(history, 1)[0].architecture for s in range(10)}) > 5


def test_all_neighbours_are_tried_each_once_before_another_climb() -> None:
    proposals = climber().propose([ok(0, 0.5, (0,) * 6)], 25)
    assert parents(proposals) == [(0,)] * 24 + [()]
    assert {p.architecture for p in proposals[:24]} == {*algebra.neighbours(Grid(), (0,) * 6)}


def test_the_first_better_neighbour_is_where_it_goes_on() -> None:
    history = [ok(0, 0.5, (0,) * 6), ok(1, 0.4, (1, *(0,) * 5), parent=0), ok(2, 0.6, (2, *(0,) * 5), parent=0)]
    assert parents(climber().propose(history, 3)) == [(2,)] * 3


@pytest.mark.parametrize("accuracy", [0.4, 0.5])
def test_one_that_is_not_better_is_no_place_to_go(accuracy: float) -> None:
    history = [ok(0, 0.5, (0,) * 6), ok(1, accuracy, (1, *(0,) * 5), parent=0)]
    assert parents(climber().propose(history, 1)) == [(0,)]


@pytest.mark.parametrize(
    "outsider",
    [
        ok(1, 0.99, (1, *(0,) * 5), parent=0, status=Status.PRUNED),
        ok(1, 0.99, (1, *(0,) * 5), parent=0, fidelity=0.5),
        ok(1, 0.99, (1, *(0,) * 5), parent=0, status=Status.INFEASIBLE, metrics=None),
        ok(1, 0.99, (1, *(0,) * 5), parent=0, status=Status.PENDING, metrics=None, finished=None),
    ],
)
def test_only_what_finished_in_full_is_a_place_to_go(outsider: Trial) -> None:
    assert parents(climber().propose([ok(0, 0.5, (0,) * 6), outsider], 1)) == [(0,)]


def test_within_the_limits_is_better_than_outside() -> None:
    fast = Objective(metric="latency_ms", goal="min", limit=10.0)
    slow = ok(0, 0.99, (0,) * 6, metrics={"accuracy": 0.99, "latency_ms": 11.0})
    history = [slow, ok(1, 0.1, (1, *(0,) * 5), parent=0)]
    assert parents(climber(1, ACCURACY, fast).propose(history, 1)) == [(1,)]


# ---------------------------------------------------------------- local optima


def at_the_top(of: Architecture, pending: bool = False) -> list[Trial]:
    """A start and all its neighbours in SMALL, none of which is better."""
    trials = [ok(0, 0.5, of)]
    for number, neighbour in enumerate(algebra.neighbours(SMALL, of), 1):
        trials.append(ok(number, 0.1, neighbour, parent=0))
    if pending:
        trials[-1] = replace(trials[-1], status=Status.PENDING, metrics=None, finished=None)
    return trials


def test_at_a_local_optimum_another_climb_begins() -> None:
    history = at_the_top((0, 0))
    assert parents(climber(space=SMALL).propose(history, 1)) == [()]
    begun = [*history, ok(5, 0.2, (1, 1))]
    assert parents(climber(space=SMALL).propose(begun, 1)) == [(5,)]


def test_another_climb_has_as_many_starts() -> None:
    history = [*at_the_top((0, 0)), ok(5, 0.2, (1, 1))]
    assert parents(climber(2, space=SMALL).propose(history, 2)) == [(), (5,)]


def test_while_the_last_neighbours_are_pending_another_climb_begins() -> None:
    history = at_the_top((0, 0), pending=True)
    assert parents(climber(space=SMALL).propose(history, 1)) == [()]


def test_the_old_climb_goes_on_if_the_last_neighbour_is_better() -> None:
    last = at_the_top((0, 0))[-1]
    late = replace(last, metrics={"accuracy": 0.7}, finished=9)
    history = [*at_the_top((0, 0))[:-1], late, ok(5, 0.9, (1, 1))]
    # Of the four neighbours of (0, 2) that are not known yet, (1, 2) and (2, 2); then those of (1, 1).
    assert late.architecture == (0, 2)
    assert parents(climber(space=SMALL).propose(history, 3)) == [(4,), (4,), (5,)]


def test_what_is_left_in_a_large_neighbourhood_is_not_missed() -> None:
    """One of 24 neighbours is unknown: a draw finds it with probability 1/24, the walk for certain."""
    missing, *known = algebra.neighbours(Grid(), (0,) * 6)
    history = [ok(0, 0.5, (0,) * 6), *(ok(i, 0.1, a, parent=0) for i, a in enumerate(known, 1))]
    for seed in range(40):
        proposals = climber(seed=seed).propose(history, 2)
        assert parents(proposals) == [(0,), ()]
        assert proposals[0].architecture == missing


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("delay", [0, 2])
def test_each_climb_ends_at_a_local_optimum(batch: int, delay: int) -> None:
    """Played on random figures, in batches, with outcomes that come late: whatever a climb leaves, it has tried."""

    def figure(architecture: Architecture) -> float:
        return float(np.random.default_rng(architecture).random())

    history = played(climber(space=BOX), figure, 60, batch, delay)
    known = {trial.architecture for trial in history}
    ended = _climbs(history)[:-2]
    assert ended
    for climb in ended:
        top = min((t for t in climb if t.metrics), key=lambda t: key(t.metrics or {}, [ACCURACY]))
        assert {*algebra.neighbours(BOX, top.architecture)} <= known


# ---------------------------------------------------------------- NAS-Bench-201


def test_it_finds_the_optimum_of_nas_bench_201_in_about_57_evaluations(data: Path) -> None:
    """CIFAR-100, unlimited budget: a median of 57 over 100 seeds. Of 40, 99.9 % of medians are between 42 and 75."""
    with np.load(data / "nb201.npz", allow_pickle=False) as table:
        rows = [tuple(map(int, ops)) for ops in table["ops"]]
        figure = dict(zip(rows, map(float, table["cifar100/val_acc_200"]), strict=True))
    best = max(figure.values())

    def evaluations(seed: int) -> int:
        strategy, history = climber(starts=10, seed=seed), list[Trial]()
        while len(history) < 300:
            (proposal,) = strategy.propose(history, 1)
            accuracy = figure[proposal.architecture]
            history.append(ok(len(history), accuracy, proposal.architecture, *proposal.parents))
            if accuracy == best:
                break
        return len(history)

    assert 42 <= np.median([evaluations(seed) for seed in range(40)]) <= 75


# ---------------------------------------------------------------- edges


def test_the_time_of_a_proposal_grows_no_faster_than_the_history() -> None:
    """Four times the trials take at most eight times as long: four and a margin for noise; squared would be sixteen."""
    accuracy = np.random.default_rng(0).random(1000)
    history = [ok(i, float(accuracy[i]), algebra.sample(Grid(), np.random.default_rng(i))) for i in range(1000)]
    strategy = climber(10)

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
    assert [p.architecture for p in climber(space=space).propose([], 3)] == [(0,)]
    assert climber(space=space).propose([ok(0, 0.5, (0,))], 3) == []


def test_a_metric_that_nobody_measured_is_named() -> None:
    with pytest.raises(InputError, match="no metric 'f1' was measured; choose one of accuracy, latency_ms"):
        climber(1, Objective(metric="f1", goal="max")).propose([ok(0, 0.1, (0,) * 6)], 1)


def test_an_option_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="starts: must be >= 1, got 0"):
        climber(starts=0)
