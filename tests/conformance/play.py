"""Searches over synthetic figures. As a program: plays every registered strategy, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nas_core import registry
from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace, Strategy
from nas_core.types import Architecture, Decision, Metrics, Objective, Port, Proposal, Signature, Status, Trial

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

OPTIONS: dict[str, dict[str, Any]] = {
    "darts": {"channels": 4, "cells": 3},
    "macro": {"max_layers": 5, "channels": 4},
    "nas-bench-201": {"channels": 4, "cells": 1},
    "table": {"path": str(TABLE)},
}
"""Options that a space cannot do without, and those that make large networks small."""

WITHOUT_NETWORKS = {"table"}
"""Spaces that are looked up and never built."""


def _wraps(strategy: str) -> bool:
    return any(option.name == "around" for option in registry.options(registry.load("strategies", strategy)))


TINY = "tiny"
"""The name of a space that is not registered, so small that searches come to its end."""

SPACES = [TINY, *registry.names("spaces")]
CLOSELY = [TINY, "chain", "table"]
"""Spaces that stand for all where a test takes long: one that is used up, one with conditions, one without."""

STRATEGIES = registry.names("strategies")
AROUND = [
    f"{outer} around {inner}" for outer, inner in permutations(STRATEGIES, 2) if _wraps(outer) and not _wraps(inner)
]
"""Strategies that wrap another one, around each that does not."""

MANY = 100
"""Up to how many candidates of a space are counted; no game needs more."""

Outcome = Callable[[int], Status]


class Call(NamedTuple):
    """What a strategy was shown and what it answered."""

    history: tuple[Trial, ...]
    answer: list[Proposal]


@dataclass(frozen=True)
class Tiny:
    """Six architectures: (2 + 1) * 2."""

    decisions: tuple[Decision, ...] = (
        Decision(name="gate", options=("off", "on")),
        Decision(name="behind", options=("a", "b"), active_if=((0, frozenset({1})),)),
        Decision(name="free", options=("x", "y")),
    )

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


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


@cache
def make_space(name: str) -> SearchSpace:
    if name == TINY:
        return Tiny()
    space: SearchSpace = registry.load("spaces", name)(signature(name), **OPTIONS.get(name, {}))
    return space


@cache
def candidates(name: str) -> int:
    """Return how many candidates the space `name` has, counted up to MANY."""
    space = make_space(name)
    found: set[Architecture] = set()
    for architecture in algebra.architectures(space):
        found.add(algebra.canonical(space, architecture))
        if len(found) == MANY:
            break
    return len(found)


def make_strategy(name: str, space: SearchSpace, seed: int) -> Strategy:
    """Return the strategy `name`, or the one that `<name> around <name>` means."""
    outer, _, inner = name.partition(" around ")
    given = _given(inner or outer, space, seed)
    options = {"around": inner, "options": given} if inner else given
    strategy: Strategy = registry.load("strategies", outer)(space, OBJECTIVES, seed, **options)
    return strategy


def _given(name: str, space: SearchSpace, seed: int) -> dict[str, Any]:
    """Return what a strategy that proposes what it is given has to be given, in an order of the seed's."""
    if not any(option.name == "candidates" for option in registry.options(registry.load("strategies", name))):
        return {}
    distinct: dict[Architecture, Architecture] = {}
    for architecture in algebra.architectures(space, np.random.default_rng(seed)):
        distinct.setdefault(algebra.canonical(space, architecture), architecture)
        if len(distinct) == MANY:
            break
    return {"candidates": tuple(distinct.values())}


def figures(trial: Trial) -> Metrics:
    """Return metrics that look random but are a function of the architecture and the fidelity."""
    seed = sum((option + 1) * (place + 3) ** 3 for place, option in enumerate(trial.architecture))
    seed += round(1 / trial.fidelity) - 1
    return {"accuracy": seed * 7919 % 101 / 101, "latency_ms": seed * 104729 % 103 / 103}


def pending(proposal: Proposal, number: int) -> Trial:
    return Trial(
        number=number, architecture=proposal.architecture, fidelity=proposal.fidelity, parents=proposal.parents
    )


def settle(trial: Trial, status: Status, finished: int) -> Trial:
    """Return `trial` with its outcome."""
    if status is Status.PENDING:
        return trial
    measured = figures(trial) if status in {Status.OK, Status.PRUNED} else None
    return replace(trial, status=status, finished=finished, metrics=measured)


def eventful(number: int) -> Status:
    """Most trials succeed; some fail, are pruned, infeasible or lost, and some never end."""
    return {3: Status.FAILED, 5: Status.PRUNED, 7: Status.LOST, 8: Status.INFEASIBLE, 9: Status.PENDING}.get(
        number % 11, Status.OK
    )


def play(strategy: Strategy, *, calls: int = 16, batch: int = 3, outcome: Outcome = eventful) -> list[Call]:
    """Call `strategy` that many times for `batch` proposals each.

    The newest call's trials are still pending at the next one, and trials of one call finish in reverse order.
    """
    history: list[Trial] = []
    made: list[Call] = []
    newest = range(0)
    for _ in range(calls):
        made.append(Call(tuple(history), list(strategy.propose(tuple(history), batch))))
        for rank, number in enumerate(reversed(newest)):
            history[number] = settle(history[number], outcome(number), finished=newest.start + rank)
        newest = range(len(history), len(history) + len(made[-1].answer))
        history += map(pending, made[-1].answer, newest)
    return made


def everything(seed: int) -> dict[str, Any]:
    """Return the answers of all strategies on the spaces that stand for all, as JSON values."""
    answers = {
        f"{strategy} on {space}": [
            [(p.architecture, p.fidelity, p.parents, p.why) for p in call.answer]
            for call in play(make_strategy(strategy, make_space(space), seed), calls=10)
        ]
        for strategy, space in product(STRATEGIES, CLOSELY)
    }
    return json.loads(json.dumps(answers))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(everything(seed=1)))
