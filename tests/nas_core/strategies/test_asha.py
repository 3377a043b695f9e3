"""Asynchronous successive halving beside a literal reading of Li et al. 2020, algorithm 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_core.strategies._rungs import rungs
from nas_core.strategies.asha import ASHA
from nas_core.types import Architecture, Decision, Objective, Status, Trial

ACCURACY = Objective(metric="accuracy", goal="max")
LOW, MIDDLE, FULL = rungs(3, 0.1)


@dataclass(frozen=True)
class Grid:
    decisions: tuple[Decision, ...] = tuple(Decision(name=f"place_{i}", options=tuple("abcd")) for i in range(8))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


def ok(number: int, which: int, fidelity: float, accuracy: float, **changes: Any) -> Trial:
    """Return the finished trial `number`, of architecture number `which`."""
    trial = Trial(number=number, architecture=(which % 4, which // 4, *(0,) * 6), fidelity=fidelity, status=Status.OK)
    return replace(trial, **{"metrics": {"accuracy": accuracy}, "finished": number, **changes})


def promoted(history: Sequence[Trial], n: int = 9, *objectives: Objective) -> list[int]:
    """Return the trials that are promoted, in order, when `n` workers are free."""
    proposals = ASHA(Grid(), objectives or [ACCURACY], 0).propose(history, n)
    return [proposal.parents[0] for proposal in proposals if proposal.parents]


# ---------------------------------------------------------------- algorithm 2


def get_jobs(history: Sequence[Trial], fidelities: Sequence[float], eta: int, n: int) -> list[int | None]:
    """Return what `n` calls of `get_job` give: the trial to promote, or None for a new architecture."""
    started = {(trial.architecture, trial.fidelity) for trial in history}

    def get_job() -> int | None:
        for k in reversed(range(len(fidelities) - 1)):
            ended = [t for t in history if t.fidelity == fidelities[k] and t.status is not Status.PENDING]
            losses = {t.number: -t.metrics["accuracy"] if t.status is Status.OK else math.inf for t in ended}
            for number in sorted(losses, key=lambda number: losses[number])[: len(ended) // eta]:
                job = (history[number].architecture, fidelities[k + 1])
                if losses[number] < math.inf and job not in started:
                    started.add(job)
                    return number
        return None

    return [get_job() for _ in range(n)]


@given(seed=st.integers(0, 2**32), eta=st.integers(2, 4), steps=st.integers(1, 3))
@settings(max_examples=40)
def test_it_promotes_what_algorithm_2_promotes(seed: int, eta: int, steps: int) -> None:
    """Workers come and go in any order, and a fifth of the trials fail, are pruned, or get lost."""
    rng = np.random.default_rng(seed)
    fidelities = rungs(eta, eta**-steps)
    strategy = ASHA(Grid(), [ACCURACY], 0, eta=eta, min_fidelity=eta**-steps)
    bad = [Status.FAILED, Status.PRUNED, Status.LOST, Status.INFEASIBLE]
    history: list[Trial] = []
    while len(history) < 60:
        n = int(rng.integers(1, 5))
        proposals = strategy.propose(history, n)
        jobs = get_jobs(history, fidelities, eta, n)
        assert [p.parents[0] if p.parents else None for p in proposals] == jobs
        for proposal, job in zip(proposals, jobs, strict=True):
            low = 0 if job is None else fidelities.index(history[job].fidelity) + 1
            assert proposal.fidelity == fidelities[low]
            assert job is None or proposal.architecture == history[job].architecture
            new = Trial(number=len(history), architecture=proposal.architecture, fidelity=proposal.fidelity)
            history.append(replace(new, parents=proposal.parents))
        for trial in [trial for trial in history if trial.status is Status.PENDING and rng.uniform() < 0.6]:
            status = bad[rng.integers(4)] if rng.uniform() < 0.2 else Status.OK
            metrics = {"accuracy": rng.uniform()} if status in {Status.OK, Status.PRUNED} else None
            history[trial.number] = replace(trial, status=status, metrics=metrics, finished=trial.number)


def test_the_best_third_is_promoted_and_no_more() -> None:
    history = [ok(i, i, LOW, accuracy) for i, accuracy in enumerate([0.1, 0.9, 0.2, 0.8, 0.3, 0.4, 0.5, 0.6])]
    assert promoted(history) == [1, 3]


def test_the_highest_rung_comes_first() -> None:
    low = [ok(i, i, LOW, i / 10) for i in range(15)]
    middle = [ok(15 + i, i, MIDDLE, i / 10, parents=(i,)) for i in range(3)]
    assert promoted([*low, *middle]) == [17, 14, 13, 12, 11, 10]


def test_an_early_promotion_is_not_taken_back() -> None:
    """What was promoted when it led may be overtaken; then the rung has sent on more than a third."""
    history = [ok(0, 0, LOW, 0.3), ok(1, 1, LOW, 0.1), ok(2, 2, LOW, 0.2), ok(3, 0, MIDDLE, 0.3, parents=(0,))]
    assert promoted([*history, ok(4, 3, LOW, 0.9), ok(5, 4, LOW, 0.8), ok(6, 5, LOW, 0.0)]) == [4, 5]


@pytest.mark.parametrize("status", [Status.PRUNED, Status.FAILED, Status.INFEASIBLE, Status.LOST])
def test_what_did_not_come_out_counts_but_is_not_promoted(status: Status) -> None:
    history = [ok(0, 0, LOW, 0.9, status=status), ok(1, 1, LOW, 0.1), ok(2, 2, LOW, 0.2)]
    assert promoted(history) == [2]
    assert promoted([replace(trial, status=status) for trial in history]) == []


def test_pending_trials_do_not_count() -> None:
    history = [ok(0, 0, LOW, 0.9), ok(1, 1, LOW, 0.1), ok(2, 2, LOW, 0.2, status=Status.PENDING, metrics=None)]
    assert promoted(history) == []


def test_what_keeps_the_limits_goes_first() -> None:
    limit = Objective(metric="latency_ms", goal="min", limit=10.0)
    history = [
        ok(i, i, LOW, 0.0, metrics={"accuracy": accuracy, "latency_ms": latency})
        for i, (accuracy, latency) in enumerate([(0.9, 11.0), (0.5, 9.0), (0.4, 1.0)])
    ]
    assert promoted(history, 9, ACCURACY, limit) == [1]


def test_trials_of_an_earlier_cycle_are_in_no_rung() -> None:
    history = [ok(i, i, LOW, i / 10, origin=f"before#{i}") for i in range(9)]
    assert promoted(history) == []


def test_without_pauses_about_a_third_of_each_rung_goes_on() -> None:
    rng = np.random.default_rng(0)
    strategy = ASHA(Grid(), [ACCURACY], 0)
    history: list[Trial] = []
    while len(history) < 600:
        (proposal,) = strategy.propose(history, 1)
        done = ok(len(history), 0, proposal.fidelity, rng.uniform(), parents=proposal.parents)
        history.append(replace(done, architecture=proposal.architecture))
    counts = [sum(trial.fidelity == fidelity for trial in history) for fidelity in (LOW, MIDDLE, FULL)]
    assert counts[1] == pytest.approx(counts[0] / 3, rel=0.15)
    assert counts[2] == pytest.approx(counts[1] / 3, rel=0.25)
