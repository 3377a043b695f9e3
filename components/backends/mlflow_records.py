"""What the runs of MLflow show, in MLflow's own names: written so by the mirror, and expected so by the comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.backends.mlflow_limits import LONGEST_PARAM, LONGEST_TAG, cut, named

Point = tuple[str, float, int, int]
"""A metric's name, its value, the time in milliseconds since 1970, and the step."""

# Tags
PARENT = "mlflow.parentRunId"
RUN = "evernas.run"
KIND = "evernas.kind"
TRIAL = "evernas.trial"
NAME = "mlflow.runName"
ADOPTED = "evernas.name"
"""Marks a cycle's run that somebody else made, in an experiment of theirs, with the name of ours."""

LEDGER_SEQ = "evernas.ledger_seq"
LEDGER_HASH = "evernas.ledger_hash"

RUNNING = "RUNNING"
ENDED = ("FINISHED", "FAILED")
"""What a candidate's run can end as: that something came out, and that nothing did."""


@dataclass(frozen=True)
class Candidate:
    """One trial with its outcome, as a child run shows it. Times are milliseconds since 1970."""

    number: int
    name: str
    params: Mapping[str, str]
    points: Sequence[Point]
    tags: Mapping[str, str]
    failed: bool
    start: int
    end: int


@dataclass(frozen=True)
class Record:
    """A run with names and values as MLflow keeps them."""

    name: str
    status: str
    start: int
    end: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: Sequence[Point]


def record(candidate: Candidate, run: str, parent: str) -> Record:
    """Return the child run of `candidate`, of the cycle `run`, whose own run in MLflow has the id `parent`."""
    ours = {PARENT: parent, RUN: run, KIND: "candidate", TRIAL: str(candidate.number)}
    return Record(
        name=candidate.name,
        status=ENDED[candidate.failed],
        start=candidate.start,
        end=candidate.end,
        tags={**shown_tags(candidate.tags), **ours},
        params=shown_params(candidate.params),
        points=shown_points(candidate.points),
    )


def shown_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Return `tags` under names, and with values, that MLflow keeps as they are."""
    keys = named(tags)
    return {keys[key]: cut(str(value), LONGEST_TAG) for key, value in tags.items()}


def shown_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Return `params` under names, and with values, that MLflow keeps as they are."""
    keys = named(params)
    return {keys[key]: cut(str(value), LONGEST_PARAM) for key, value in params.items()}


def shown_points(points: Sequence[Point]) -> list[Point]:
    """Return `points` under names that MLflow takes."""
    keys = named(metric for metric, *_ in points)
    return [(keys[metric], float(value), at, step) for metric, value, at, step in points]
