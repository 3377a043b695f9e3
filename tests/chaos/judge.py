"""Whether a search that was hurt came to the same as one that was not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.backends.signing import verify_signature
from nas_core import objectives as order
from nas_core.errors import EvernasError
from nas_core.history import History
from nas_core.ledger import Ledger, verify
from nas_core.store import Store
from nas_core.types import Objective, Status


@dataclass
class Verdict:
    """What was found over several runs; all zero is what there should be."""

    name: str
    runs: int = 0
    lost: int = 0
    duplicated: int = 0
    invalid: int = 0

    def add(self, other: Verdict) -> None:
        """Count what another run came to."""
        self.runs += other.runs
        self.lost += other.lost
        self.duplicated += other.duplicated
        self.invalid += other.invalid

    def to_json(self) -> dict[str, Any]:
        """Return it as `chaos.json` has it."""
        return dict(vars(self))


def judge(name: str, store: Store, expected: int, *, key: str | None = None) -> Verdict:
    """Judge one run by its ledger alone.

    Lost is a trial that has no outcome though the search is over, or that was never proposed; duplicated is one with
    two outcomes, or two reports of one step; invalid is a ledger that does not verify.
    """
    verdict = Verdict(name, runs=1)
    try:
        verify(store, verify_signature, key)
    except EvernasError:
        verdict.invalid = 1
        return verdict
    entries = list(Ledger(store).entries({"proposals", "report", "outcome"}))
    trials = sum(len(entry.data["accepted"]) for entry in entries if entry.kind == "proposals")
    ends = Counter(entry.data["number"] for entry in entries if entry.kind == "outcome")
    reports = Counter((e.data["number"], e.data["step"]) for e in entries if e.kind == "report")
    verdict.lost = max(0, expected - len(ends)) + max(0, trials - len(ends) - max(0, expected - len(ends)))
    verdict.duplicated = sum(n > 1 for n in ends.values()) + sum(n > 1 for n in reports.values())
    return verdict


def same(one: Store, other: Store, objectives: tuple[Objective, ...]) -> bool:
    """Tell whether two searches did the same and came to the same champion."""
    return sequence(one) == sequence(other) and champion(one, objectives) == champion(other, objectives)


def epochs_trained(log: Path) -> int:
    """Return how many epochs were trained to their end, by all processes."""
    return len(log.read_text().splitlines())


def sequence(store: Store) -> list[tuple[Any, ...]]:
    """Return what the search did, without what depends on the clock."""
    trials = History(Ledger(store).entries()).trials
    return [(t.architecture, t.fidelity, t.parents, t.status, t.metrics, t.finished) for t in trials]


def champion(store: Store, objectives: tuple[Objective, ...]) -> int | None:
    """Return the number of the best trial in full."""
    trials = History(Ledger(store).entries()).trials
    best = order.best([t for t in trials if t.fidelity == 1.0 and t.status is Status.OK], objectives)
    return None if best is None else best.number
