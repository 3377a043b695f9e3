"""One cycle as its ledger tells it: what each stage found, every trial, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nas_core.chain import SEAL
from nas_core.history import KINDS, History
from nas_core.ledger import EMPTY, Entry, Head
from nas_core.types import Status, Trial

STAGES = {
    "drift": "drift check",
    "data_prep": "data preparation",
    "search": "architecture search",
    "retrain": "retraining",
    "fairness": "fairness audit",
    "deploy": "deployment",
}
"""The stages whose results make up a cycle, in order, and what people call them."""


@dataclass
class Cycle:
    """The state of a cycle after some entries; `read` makes one.

    `about` is what the cycle wrote of itself at its begin, `results`, `files` and `seconds` hold what each finished
    stage recorded. `halt` is the failure or interruption that nothing followed, if there is one.
    """

    about: Mapping[str, Any] = field(default_factory=dict)
    results: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    files: dict[str, Mapping[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    history: History = field(default_factory=History)
    halt: Entry | None = None
    started: str | None = None
    finished: str | None = None
    head: Head = EMPTY
    _published: bool = False

    @property
    def total_seconds(self) -> float | None:
        """Wall clock from the first entry to the last; what lies between an interruption and its resumption counts."""
        if self.started is None or self.finished is None:
            return None
        return (datetime.fromisoformat(self.finished) - datetime.fromisoformat(self.started)).total_seconds()

    @property
    def own_trials(self) -> list[Trial]:
        """The trials of this cycle, without what it was told of earlier ones."""
        return [trial for trial in self.history.trials if not trial.origin]

    @property
    def candidates(self) -> int:
        """How many architectures this cycle has evaluated; one that failed has been, twins and promotions are one."""
        return len({trial.architecture for trial in self.own_trials if trial.status is not Status.PENDING})

    def result(self, stage: str) -> Mapping[str, Any]:
        """Return what `stage` recorded, nothing if it has not finished."""
        return self.results.get(stage, {})

    def apply(self, entry: Entry) -> None:
        """Take in the next entry; what was published of the cycle is no part of it, nor is the seal of that."""
        if entry.kind == "published" or (entry.kind == SEAL and self._published):
            self._published = entry.kind == "published"
            return
        self.started = self.started or entry.time
        self.finished = entry.time
        self.head = Head(entry.seq, entry.hash)
        if entry.kind == "cycle":
            self.about = entry.data
        elif entry.kind in ("failure", "interrupted"):
            self.halt = entry
        elif entry.kind in KINDS:
            self.history.apply(entry)
            self.halt = None
        elif entry.kind == "stage":
            stage = entry.data["stage"]
            self.results[stage], self.files[stage] = entry.data["result"], entry.data["files"]
            self.seconds[stage] = entry.data["seconds"]
            self.halt = None


def read(entries: Iterable[Entry]) -> Cycle:
    """Return the cycle that `entries` tell of; IntegrityError if they contradict one another."""
    cycle = Cycle()
    for entry in entries:
        cycle.apply(entry)
    return cycle
