"""Searches over synthetic figures. As a program: plays every registered strategy on every registered space, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from nas_core import registry
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace, Strategy
from nas_core.types import Architecture, Metrics, Objective, Port, Proposal, Signature, Status, Trial

TABLE = Path(__file__).with_name("table.npz")
"""A small table of made-up figures, for the space of this name."""

OBJECTIVES = (
    Objective(metric="accuracy", goal="max"),
    Objective(metric="latency_ms", goal="min", limit=0.8),
)
SIGNATURES = {
    "table": Signature(
        inputs=(
            Port(name="numeric", shape=(3,)),
            Port(name="colour", shape=(), dtype="int64", classes=4),
            Port(name="shape", shape=(), dtype="int64", classes=7),
        ),
        outputs=(Port(name="target", shape=(2,), classes=2),),
    ),
    "image": Signature(
        inputs=(Port(name="image", shape=(3, 16, 16)),), outputs=(Port(name="target", shape=(2,), classes=2),)
    ),
    "text": Signature(
        inputs=(Port(name="text", shape=(12,), dtype="int64", classes=50),),
        outputs=(Port(name="target", shape=(2,), classes=2),),
    ),
    "audio": Signature(
        inputs=(Port(name="audio", shape=(4000,)),), outputs=(Port(name="target", shape=(2,), classes=2),)
    ),
    "two tasks": Signature(
        inputs=(Port(name="photo", shape=(3, 16, 16)), Port(name="drawing", shape=(1, 16, 16))),
        outputs=(Port(name="animal", shape=(2,), classes=2), Port(name="letter", shape=(5,), classes=5)),
    ),
}
"""What the conformance suite asks of a space; a space has to take one of these at least."""

OPTIONS: dict[str, dict[str, Any]] = {"table": {"path": str(TABLE)}}
"""Options that a space cannot do without."""

WITHOUT_NETWORKS = {"table"}
"""Spaces that are looked up and never built."""

PAIRS = list(product(registry.names("strategies"), registry.names("spaces")))

Outcome = Callable[[int], Status]


@cache
def signature(name: str) -> Signature:
    """Return the first signature that the space `name` takes."""
    for candidate in SIGNATURES.values():
        try:
            registry.load("spaces", name)(candidate, **OPTIONS.get(name, {}))
        except InputError:
            continue
        return candidate
    raise LookupError(f"{name} takes none of {', '.join(SIGNATURES)}")


def make_space(name: str) -> SearchSpace:
    space: SearchSpace = registry.load("spaces", name)(signature(name), **OPTIONS.get(name, {}))
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
