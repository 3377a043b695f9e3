"""Searches over a benchmark table, played in process, and the figures by which they are compared."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Protocol

import numpy as np

from nas_core import space as algebra
from nas_core import tables
from nas_core.errors import unknown
from nas_core.estimators.tabular import Tabular
from nas_core.interfaces import SearchSpace, Strategy
from nas_core.objectives import key
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.spaces.table import Table
from nas_core.types import Architecture, Objective, Port, Signature, Status, Trial

CHECKPOINTS = (25, 50, 100, 150, 200, 500)
"""After how many evaluations regret and test figures are told."""

SIGNATURE = Signature(
    inputs=(Port(name="image", shape=(3, 32, 32)),), outputs=(Port(name="label", shape=(10,), classes=10),)
)
"""No network is built, so any signature will do."""


class Problem:
    """A table as a search problem: a metric to search by, and another one to judge the winner by.

    Every evaluation is at `fidelity`, whatever a strategy asks for. `plain` cells of NAS-Bench-201 are six decisions
    and no more: nothing is known of twins and operations. InputError for a bad table and unknown names.
    """

    def __init__(
        self,
        path: str,
        dataset: str,
        metric: str,
        test_metric: str,
        goal: str = "max",
        *,
        fidelity: float = 1.0,
        plain: bool = False,
    ) -> None:
        table = tables.read(path)
        known = table.is_nas_bench_201 and not plain
        self.space: SearchSpace = NasBench201(SIGNATURE) if known else Table(SIGNATURE, path=path)
        others = [] if table.is_nas_bench_201 else [name for name in table.metrics(dataset) if name != metric]
        self._figures = Tabular(self.space, None, 0, path=path, dataset=dataset, hidden=others)
        self._fidelity = fidelity
        self._test_metric = test_metric
        self.objective = Objective(metric=metric, goal="min" if goal == "min" else "max")
        some = next(iter(table.rows))
        algebra.canonical(self.space, some)  # a space may get ready on first use, no proposal is charged with that
        told, hidden = self.metrics(some), self._figures.final(some)
        names = told if table.is_nas_bench_201 else {*told, *hidden}
        if metric not in names:
            raise unknown("--metric", metric, names)
        if test_metric not in hidden:
            raise unknown("--test-metric", test_metric, hidden)
        self._optimum = min(map(self.metrics, table.rows), key=self._key)[metric]

    def metrics(self, architecture: Architecture) -> Mapping[str, float]:
        """Return what a search is told of `architecture`."""
        return self._figures.metrics(architecture, self._fidelity)

    def regret(self, architecture: Architecture) -> float:
        """Return how far `architecture` is from the best of the table, in the units of the metric; 0 is the best."""
        return abs(self.metrics(architecture)[self.objective.metric] - self._optimum)

    def test(self, architecture: Architecture) -> float:
        """Return the figure that winners are judged by."""
        return self._figures.final(architecture)[self._test_metric]

    def better(self, a: Architecture, b: Architecture) -> Architecture:
        """Return the better of two by the figure that is searched by; the first if they are equal."""
        return min(a, b, key=lambda architecture: self._key(self.metrics(architecture)))

    def _key(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        return key(metrics, [self.objective])


class Player(Protocol):
    """A search, ours or a peer's, that is asked for architectures and told what came of them."""

    def ask(self, n: int) -> Sequence[Architecture]: ...

    def tell(self, outcomes: Sequence[tuple[Architecture, Mapping[str, float]]]) -> None: ...


class StrategyPlayer:
    """A strategy of ours with its history; the trials of one `ask` stay pending until they are told."""

    def __init__(self, strategy: Strategy, priors: Sequence[Trial] = ()) -> None:
        self._strategy = strategy
        self.history = list(priors)

    def ask(self, n: int) -> list[Architecture]:
        proposals = self._strategy.propose(self.history, n)
        self.history += [
            Trial(number=number, architecture=p.architecture, fidelity=p.fidelity, parents=p.parents)
            for number, p in enumerate(proposals, start=len(self.history))
        ]
        return [proposal.architecture for proposal in proposals]

    def tell(self, outcomes: Sequence[tuple[Architecture, Mapping[str, float]]]) -> None:
        first = len(self.history) - len(outcomes)
        for number, (_, metrics) in enumerate(outcomes, start=first):
            self.history[number] = replace(self.history[number], status=Status.OK, finished=number, metrics=metrics)


def as_priors(history: Sequence[Trial], study: str, first: int = 0) -> list[Trial]:
    """Return the trials of another search as those of an earlier cycle called `study`, numbered from `first` on."""
    return [
        replace(trial, number=number, finished=number, parents=(), origin=f"{study}#{trial.number}")
        for number, trial in enumerate(history, start=first)
    ]


@dataclass(frozen=True)
class Run:
    """One search: what it evaluated in order, and how long each of its proposals took, in seconds."""

    evaluated: list[Architecture]
    seconds: list[float]


def play(
    problem: Problem,
    player: Player,
    budget: int,
    batch: int = 1,
    *,
    seconds: float = math.inf,
    until_found: bool = False,
) -> Run:
    """Search for `budget` evaluations, or as many as fit into `seconds` of training; or until nothing is proposed.

    `until_found` ends it at the optimum as well, which changes no figure but the time that a proposal takes.
    """
    run = Run([], [])
    while len(run.evaluated) < budget:
        started = time.perf_counter()
        asked = player.ask(min(batch, budget - len(run.evaluated)))
        took = time.perf_counter() - started
        outcomes = [(architecture, problem.metrics(architecture)) for architecture in asked]
        if seconds < math.inf:
            seconds -= sum(metrics["train_seconds"] for _, metrics in outcomes)
        if not asked or seconds < 0:
            break
        run.seconds.extend([took / len(asked)] * len(asked))
        run.evaluated.extend(asked)
        player.tell(outcomes)
        if until_found and any(problem.regret(architecture) == 0 for architecture in asked):
            break
    return run


# ---------------------------------------------------------------- figures


def record(problem: Problem, run: Run, budget: int) -> dict[str, Any]:
    """Return what one run came to, as JSON values; the figures after n evaluations are those of the best until then."""
    winners = list(accumulate(run.evaluated, problem.better))
    found = next((n for n, winner in enumerate(winners, start=1) if problem.regret(winner) == 0), None)
    at = {str(n): winners[min(n, len(winners)) - 1] for n in CHECKPOINTS if n <= budget}
    return {
        "found": found,
        "regret": {n: problem.regret(winner) for n, winner in at.items()},
        "test": {n: problem.test(winner) for n, winner in at.items()},
        "final": problem.test(winners[-1]),
        "seconds": run.seconds,
    }


def summary(records: Sequence[Mapping[str, Any]], budget: int) -> dict[str, Any]:
    """Return the figures over all seeds; a seed that did not find the optimum counts as the whole budget."""
    evaluations = [budget if record["found"] is None else record["found"] for record in records]
    seconds = np.concatenate([record["seconds"] for record in records])
    last = np.concatenate([record["seconds"][-50:] for record in records])
    return {
        "evaluations_to_optimum": {
            "median": float(np.median(evaluations)),
            "q25": float(np.quantile(evaluations, 0.25)),
            "q75": float(np.quantile(evaluations, 0.75)),
            "q90": float(np.quantile(evaluations, 0.9)),
            "found": sum(record["found"] is not None for record in records),
        },
        "regret": {n: spread([record["regret"][n] for record in records]) for n in records[0]["regret"]},
        "test_accuracy": {n: spread([record["test"][n] for record in records]) for n in records[0]["test"]},
        "seconds_per_proposal": {
            "median": float(np.median(seconds)),
            "mean": float(np.mean(seconds)),
            "last_50": float(np.median(last)),
        },
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return mean, standard deviation over seeds, and median."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "median": float(np.median(values))}
