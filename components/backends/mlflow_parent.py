"""What the run of a whole cycle shows in MLflow, by the ledger and its summaries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple

from nas_core.chain import SEAL
from nas_core.ledger import Entry

Summarise = Callable[[Iterable[Entry]], Mapping[str, Any]]
"""Gives the summary of a cycle from its entries, as `components.report.summary` does."""

_STATUS = {"failed": "FAILED", "interrupted": "KILLED"}
"""How MLflow calls what was decided; it knows no other bad ends."""

_PUBLISHED = (SEAL, "published")


class Ending(NamedTuple):
    """A status in MLflow, and since when, in milliseconds since 1970."""

    status: str
    at: int


@dataclass(frozen=True)
class Telling:
    """What one report told: parameters, tags and figures, and when (ms)."""

    params: Mapping[str, Any]
    tags: Mapping[str, Any]
    metrics: Mapping[str, float]
    at: int


@dataclass(frozen=True)
class Parent:
    """What the cycle's run shows.

    `tellings` has one for each time that the cycle came to an end, the newest last; `endings` all statuses that it had,
    and `ended` tells whether the last still holds, or the cycle was taken up again. `dataset` is what
    `Tracker.dataset` takes: name, digest, source and profile; None before data were prepared.
    """

    tellings: Sequence[Telling]
    endings: Sequence[Ending]
    ended: bool
    dataset: tuple[str, str, str, Mapping[str, Any]] | None


def parent_expected(
    entries: Callable[[], Iterable[Entry]], summarise: Summarise, *, name: str, source: str = ""
) -> Parent:
    """Return what the cycle's run shows after `entries`, which are read as often as they are needed.

    `name` is the cycle's name and `source` tells where its data came from; MLflow keeps both with the data's digest.
    """
    cycle: Mapping[str, Any] = {}
    dataset: tuple[str, str, str, Mapping[str, Any]] | None = None
    endings: list[Ending] = []
    ends: list[tuple[int, int]] = []
    ended = after_end = False
    for entry in entries():
        if after_end and entry.kind == SEAL:
            ends[-1] = (entry.seq, ends[-1][1])  # the record as the report found it had the seal
        after_end = entry.kind == "end"
        if entry.kind == "cycle":
            cycle = entry.data
        elif entry.kind == "stage" and entry.data["stage"] == "data_prep":
            result = entry.data["result"]
            dataset = (name, result["digest"], source, result["rows"])
        if ending := _ending(entry):
            endings.append(ending)
            ended = True
            if after_end:
                ends.append((entry.seq, ending.at))
        elif entry.kind not in _PUBLISHED:
            ended = False
    tellings = [_telling(summarise(_until(entries(), seq)), cycle, at) for seq, at in ends]
    return Parent(tellings, endings, ended, dataset)


def _until(entries: Iterable[Entry], seq: int) -> Iterable[Entry]:
    return takewhile(lambda entry: entry.seq <= seq, entries)


def _ending(entry: Entry) -> Ending | None:
    """Return the status in which `entry` leaves the cycle, None if it ends nothing."""
    at = int(datetime.fromisoformat(entry.time).timestamp() * 1000)
    if entry.kind == "end":
        return Ending(_STATUS.get(entry.data["decision"], "FINISHED"), at)
    if entry.kind in ("failure", "interrupted"):
        return Ending("FAILED" if entry.kind == "failure" else "KILLED", at)
    return None


def _telling(summary: Mapping[str, Any], cycle: Mapping[str, Any], at: int) -> Telling:
    about = {key: cycle[key] for key in ("spec_digest", "seed") if key in cycle}
    tags = {
        "evernas.decision": summary["decision"],
        "evernas.reason": summary["reason"],
        "evernas.ledger_seq": summary["ledger"]["entries"] - 1,
        "evernas.ledger_hash": summary["ledger"]["head"],
        **{f"evernas.fairness.{name}": verdict for name, verdict in summary["fairness"].items()},
    }
    return Telling({**about, **(summary["champion"]["architecture"] or {})}, tags, _figures(summary), at)


def _figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the cycle's own figures; what does not exist is left out."""
    champion, accuracy = summary["champion"], summary["champion"]["test_accuracy"]
    figures = {
        "candidates": summary["candidates"],
        "test_accuracy_mean": accuracy["mean"],
        "test_accuracy_std": accuracy["std"],
        "baseline_test_accuracy": summary["baseline"]["test_accuracy"],
        **{name: champion[name] for name in ("params", "latency_ms", "size_mb")},
        **{f"seconds_{name}": value for name, value in summary["seconds"].items()},
    }
    return {name: value for name, value in figures.items() if value is not None}
