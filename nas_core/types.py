"""The values that every part of evernas speaks in. Standard library only; all immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Architecture = tuple[int, ...]
"""One option index per decision of a space; an inactive decision is 0."""

Live = tuple[tuple[int, ...], ...]
"""Per slot of a supernet the option indices that are computed; () removes the slot."""

Metrics = Mapping[str, float]
"""Finite figures by name, in the units of the name (`latency_ms`, `accuracy` as a share of 1)."""


class Status(StrEnum):
    """Where a trial stands. A failed estimate is a status, never an exception that ends the search."""

    PENDING = "pending"
    OK = "ok"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One categorical choice of a search space.

    `attributes` holds a row of numbers per option (kernel, width, MACs ...) or nothing. `active_if` holds
    `(earlier decision, its options)` pairs; the decision counts only if for every pair that earlier decision is
    active and takes one of these options.
    """

    name: str
    options: tuple[str, ...]
    attributes: tuple[tuple[float, ...], ...] = ()
    active_if: tuple[tuple[int, frozenset[int]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An architecture that a strategy asks for, at a fidelity in (0, 1], and why."""

    architecture: Architecture
    fidelity: float = 1.0
    parents: tuple[int, ...] = ()
    why: tuple[tuple[str, float | str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One evaluation of an architecture at a fidelity.

    `number` is its index in the study's history. `finished` is the rank of its outcome in the ledger, the order of
    completion. `attempt` counts the attempts that ended without an outcome before the present one: their process or
    machine died. `cost_seconds` sums all attempts. `curve` holds `(step, metrics)` as reported, steps rising.
    `metrics` is set iff the status is ok (what the estimator returned) or pruned (the last report). `origin` is empty
    for a trial of this study, otherwise `<study>#<number>` of an earlier cycle.
    """

    number: int
    architecture: Architecture
    fidelity: float = 1.0
    parents: tuple[int, ...] = ()
    origin: str = ""
    status: Status = Status.PENDING
    attempt: int = 0
    finished: int | None = None
    curve: tuple[tuple[int, Metrics], ...] = ()
    metrics: Metrics | None = None
    cost_seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an estimate has no metrics: `reason` begins with a code (oom, timeout, nan, build, worker, node)."""

    status: Literal[Status.INFEASIBLE, Status.FAILED, Status.LOST]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A metric, the direction that is better, and a bound it has to keep (`<=` for min, `>=` for max), if any."""

    metric: str
    goal: Literal["min", "max"]
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A named tensor of a model. `shape` is without the batch; -1 varies.

    `classes` is the number of categories of an int64 input or of an output; 0 means real-valued.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "int64"] = "float32"
    classes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a task asks of a model: its inputs in order, and its outputs (several: multi-task)."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Where a search stops; None sets no bound.

    At a number of trials, at seconds of wall clock, or at seconds that trials have taken, all added up. What a trial
    occupies is the same for all of a search, so hours of CPU and GPU, and money, are seconds of trials.
    """

    trials: int | None = None
    seconds: float | None = None
    trial_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a search has taken so far, by its record: trials that ended, wall clock, and seconds of all its trials.

    The time between the death of one process and the start of the next is no wall clock of the search. `pending` counts
    the trials that have begun and not ended.
    """

    trials: int = 0
    pending: int = 0
    seconds: float = 0.0
    trial_seconds: float = 0.0
