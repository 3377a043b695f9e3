"""Searches over synthetic figures. As a program: plays every registered strategy on every registered space, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

from nas_core import registry
from nas_core.interfaces import SearchSpace, Strategy
from nas_core.types import Architecture, Metrics, Objective, Port, Proposal, Signature, Status, Trial

OBJECTIVES = (
    Objective(metric="accuracy", goal="max"),
    Objective(metric="latency_ms", goal="min", limit=0.8),
)
SIGNATURE = Signature(
    inputs=(
        Port(name="numeric", shape=(3,)),
        Port(name="colour", shape=(), dtype="int64", classes=4),
        Port(name="shape", shape=(), dtype="int64", classes=7),
    ),
    outputs=(Port(name="target", shape=(2,), classes=2),),
)
PAIRS = list(product(registry.names("strategies"), registry.names("spaces")))

Outcome = Callable[[int], Status]


def make_space(name: str) -> SearchSpace:
    space: SearchSpace = registry.load("spaces", name)(SIGNATURE)
    return space


def make_strategy(name: str, space: SearchSpace, seed: int) -> Strategy:
    strategy: Strategy = registry.load("strategies", name)(space, OBJECTIVES, seed)
    return strategy


def figures(architecture: Architecture) -> Metrics:
    """Return metrics that look random but are a function of the architecture."""
    seed = sum((option + 1) * (place + 3) ** 3 for place, option in enumerate(architecture))
    return {"accuracy": seed * 7919 % 101 / 101, "latency_ms": seed * 104729 % 103 / 103}


def pending(proposal: Proposal, number: int) -> Trial:
    return Trial(
        number=number, architecture=proposal.architecture, fidelity=proposal.fidelity, parents=proposal.parents
    )


def settle(trial: Trial, status: Status, finished: int) -> Trial:
    """Return `trial` with its outcome."""
    if status is Status.PENDING:
        return trial
    measured = figures(trial.architecture) if status in {Status.OK, Status.PRUNED} else None
    return replace(trial, status=status, finished=finished, metrics=measured)


def eventful(number: int) -> Status:
    """Most trials succeed; some fail, are pruned, infeasible or lost, and some never end."""
    return {3: Status.FAILED, 5: Status.PRUNED, 7: Status.LOST, 8: Status.INFEASIBLE, 9: Status.PENDING}.get(
        number % 11, Status.OK
    )


def play(
    strategies: Callable[[], Strategy], *, calls: int = 16, batch: int = 3, outcome: Outcome = eventful
) -> tuple[list[Trial], list[list[Proposal]]]:
    """Return the history and the answers of `calls` calls; the strategy of each call is what `strategies` returns.

    The newest call's trials are still pending at the next one, and trials of one call finish in reverse order.
    """
    history: list[Trial] = []
    answers: list[list[Proposal]] = []
    for _ in range(calls):
        answer = list(strategies().propose(tuple(history), batch))
        answers.append(answer)
        started = len(history)
        for number in reversed(range(max(0, started - batch), started)):
            history[number] = settle(history[number], outcome(number), finished=2 * started - batch - number)
        history += [pending(proposal, started + i) for i, proposal in enumerate(answer)]
    return history, answers


def everything(seed: int) -> dict[str, Any]:
    """Return the answers for all pairs, as JSON values."""
    answers = {}
    for strategy, space in PAIRS:
        player = make_strategy(strategy, make_space(space), seed)
        answers[f"{strategy} on {space}"] = [
            [(p.architecture, p.fidelity, p.parents, p.why) for p in answer]
            for answer in play(lambda player=player: player)[1]
        ]
    return json.loads(json.dumps(answers))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(everything(seed=1)))
