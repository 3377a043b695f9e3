"""Hyperband beside the closed form of its brackets (Li et al. 2018, table 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_core.strategies._rungs import rungs
from nas_core.strategies.hyperband import Hyperband
from nas_core.types import Architecture, Decision, Objective, Proposal, Status, Trial

ACCURACY = Objective(metric="accuracy", goal="max")
TABLE_1 = {
    4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    3: [(27, 3), (9, 9), (3, 27), (1, 81)],
    2: [(9, 9), (3, 27), (1, 81)],
    1: [(6, 27), (2, 81)],
    0: [(5, 81)],
}
"""Per bracket s, for R = 81 and eta = 3: how many are trained, and with how much."""


@dataclass(frozen=True)
class Grid:
    decisions: tuple[Decision, ...] = tuple(Decision(name=f"place_{i}", options=tuple("abcd")) for i in range(8))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


def hyperband(min_fidelity: float, *objectives: Objective) -> Hyperband:
    return Hyperband(Grid(), objectives or [ACCURACY], 0, min_fidelity=min_fidelity)


def begun(proposal: Proposal, number: int) -> Trial:
    architecture, fidelity = proposal.architecture, proposal.fidelity
    return Trial(number=number, architecture=architecture, fidelity=fidelity, parents=proposal.parents)


def ended(trial: Trial, accuracy: float, status: Status = Status.OK) -> Trial:
    return replace(trial, status=status, finished=trial.number, metrics={"accuracy": accuracy})


def played(strategy: Hyperband, trials: int, rng: np.random.Generator) -> list[Trial]:
    """Return the history after one worker did `trials` trials."""
    history: list[Trial] = []
    while len(history) < trials:
        (proposal,) = strategy.propose(history, 1)
        history.append(ended(begun(proposal, len(history)), rng.uniform()))
    return history


def accuracy(trial: Trial) -> float:
    assert trial.metrics is not None
    return trial.metrics["accuracy"]


def test_brackets_are_those_of_table_1_again_and_again() -> None:
    per_round = sum(n for rows in TABLE_1.values() for n, _ in rows)
    history = played(hyperband(1 / 81), 2 * per_round, np.random.default_rng(0))
    start = 0
    for rows in [*TABLE_1.values()] * 2:
        bracket = history[start : start + sum(n for n, _ in rows)]
        assert [(trial.fidelity, bool(trial.parents)) for trial in bracket] == [
            (resource / 81, level > 0) for level, (n, resource) in enumerate(rows) for _ in range(n)
        ]
        start += len(bracket)


def test_the_best_third_of_a_rung_goes_on_best_first() -> None:
    history = played(hyperband(1 / 9), 9 + 3 + 1, np.random.default_rng(0))
    entered, middle, full = history[:9], history[9:12], history[12:]
    assert [t.parents[0] for t in middle] == [t.number for t in sorted(entered, key=accuracy, reverse=True)[:3]]
    assert full[0].parents[0] == max(middle, key=accuracy).number


def test_nobody_waits_for_a_rung_that_has_not_ended() -> None:
    """Nine are running, so the next five begin the second bracket, and the one after that the third."""
    history = [begun(p, i) for i, p in enumerate(hyperband(1 / 9).propose([], 9))]
    more = hyperband(1 / 9).propose(history, 7)
    assert [proposal.fidelity for proposal in more] == [1 / 3] * 3 + [1.0] * 3 + [1 / 9]
    assert not any(proposal.parents for proposal in more)


def test_a_rung_is_complete_only_when_its_last_trial_has_ended() -> None:
    strategy = hyperband(1 / 9)
    history = [begun(p, i) for i, p in enumerate(strategy.propose([], 9))]
    history = [ended(trial, trial.number / 10) for trial in history]
    waiting = [*history[:8], replace(history[8], status=Status.PENDING, metrics=None)]
    assert [p.parents for p in strategy.propose(waiting, 1)] == [()]
    assert [p.parents for p in strategy.propose(history, 4)] == [(8,), (7,), (6,), ()]


def test_a_rung_is_complete_only_when_all_who_are_due_have_come() -> None:
    strategy = hyperband(1 / 9)
    history = [ended(begun(p, i), i / 10) for i, p in enumerate(strategy.propose([], 9))]
    history.append(ended(begun(strategy.propose(history, 1)[0], 9), 0.9))
    assert [p.parents for p in strategy.propose(history, 9) if p.parents] == [(7,), (6,)]


@pytest.mark.parametrize("status", [Status.PRUNED, Status.FAILED, Status.INFEASIBLE, Status.LOST])
def test_what_did_not_come_out_is_not_promoted_and_leaves_its_place_empty(status: Status) -> None:
    strategy = hyperband(1 / 9)
    history = [begun(p, i) for i, p in enumerate(strategy.propose([], 9))]
    history = [ended(t, t.number / 10, Status.OK if t.number < 2 else status) for t in history]
    middle = strategy.propose(history, 9)
    assert [p.parents for p in middle if p.parents] == [(1,), (0,)]
    history += [ended(begun(p, 9 + i), 0.5 + i / 10) for i, p in enumerate(middle[:2])]
    assert strategy.propose(history, 1)[0].parents == (10,)


def test_what_keeps_the_limits_goes_first() -> None:
    strategy = hyperband(1 / 3, ACCURACY, Objective(metric="latency_ms", goal="min", limit=10.0))
    entered = [begun(p, i) for i, p in enumerate(strategy.propose([], 3))]
    figures = [(0.9, 11.0), (0.5, 9.0), (0.4, 1.0)]
    history = [
        replace(ended(trial, 0), metrics={"accuracy": accuracy, "latency_ms": latency})
        for trial, (accuracy, latency) in zip(entered, figures, strict=True)
    ]
    assert strategy.propose(history, 1)[0].parents == (1,)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_with_many_workers_in_any_order_no_bracket_outgrows_its_plan(seed: int) -> None:
    rng = np.random.default_rng(seed)
    strategy = hyperband(1 / 9)
    history: list[Trial] = []
    while len(history) < 63:
        history += [
            begun(p, len(history) + i) for i, p in enumerate(strategy.propose(history, int(rng.integers(1, 6))))
        ]
        for trial in [trial for trial in history if trial.status is Status.PENDING and rng.uniform() < 0.5]:
            history[trial.number] = ended(trial, rng.uniform())
    history = history[:63]
    sizes = planned(rungs(3, 1 / 9))
    entries = [trial for trial in history if not trial.parents]
    assert [t.fidelity for t in entries] == [fidelity for fidelity, *_ in sizes[: len(entries)]]
    members = Counter((sizes[entries.index(entry)][1], trial.fidelity) for entry, trial in climbed(entries, history))
    allowed = {(bracket, fidelity): n for _, bracket, plan in sizes for fidelity, n in plan}
    assert all(count <= allowed[place] for place, count in members.items())


def planned(fidelities: Sequence[float]) -> list[tuple[float, int, list[tuple[float, int]]]]:
    """Return per entry its fidelity, its bracket, and the plan of that bracket, for a few rounds of three rungs."""
    low, middle, full = fidelities
    plans = [[(low, 9), (middle, 3), (full, 1)], [(middle, 3), (full, 1)], [(full, 3)]] * 9
    return [(plan[0][0], bracket, plan) for bracket, plan in enumerate(plans) for _ in range(plan[0][1])]


def climbed(entries: Sequence[Trial], history: Sequence[Trial]) -> list[tuple[Trial, Trial]]:
    """Return every trial with the one by which its architecture entered."""
    by_architecture = {entry.architecture: entry for entry in entries}
    return [(by_architecture[trial.architecture], trial) for trial in history]
