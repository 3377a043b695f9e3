"""The trials of a study, folded from the ledger's entries.

The kinds of entries and their data:

    priors     {trials: [{architecture, fidelity, origin, status, curve, metrics, cost_seconds, error}]}
               trials of earlier cycles; first in the history, once
    proposals  {first, accepted: [{architecture, fidelity, parents, why}], refused: [the same and reason]}
               what one call of the strategy brought; the accepted are the trials `first`, `first + 1` ...
    report     {number, step, metrics, stop}
               a report of a running trial, and whether the stopper ended it there
    outcome    {number, status, metrics | reason, cost_seconds, finished}
               the end of a trial; `finished` counts all ends, those of priors first; the cost is the last attempt's
    retry      {number, reason, cost_seconds}
               a fault of the infrastructure ended an attempt of a trial, which runs again under its number
    resumed    {trials: [{number, cost_seconds}]}
               another process has taken over; the trials that it found running begin a new attempt

Other kinds are not a study's. The fold needs no space and no strategy, so reports and mirrors use it as well.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from nas_core.errors import IntegrityError
from nas_core.ledger import Entry, Head
from nas_core.types import Metrics, Proposal, Status, Trial

KINDS = frozenset({"priors", "proposals", "report", "outcome", "retry", "resumed"})


class History:
    """The state of a study after some entries.

    `trials` by number; `pending` the numbers of those without an end; `stopping` those that the stopper has ended;
    `ended` how many have an end, `priors` how many of these are of earlier cycles; `dry` whether the newest call of the
    strategy brought nothing since trials changed; `begun` whether a trial was ever proposed. `seconds` is the wall
    clock from entry to entry, without the gaps before another process took over; `trial_seconds` what all attempts of
    this study's trials took.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.trials: list[Trial] = []
        self.pending: set[int] = set()
        self.stopping: set[int] = set()
        self.ended = 0
        self.priors = 0
        self.dry = False
        self.begun = False
        self.seconds = 0.0
        self.trial_seconds = 0.0
        self._heads: list[Head] = []
        self._faults: Counter[int] = Counter()
        self._attempt_began: dict[int, float] = {}
        self._last: float | None = None
        for entry in entries:
            self.apply(entry)

    def recorded(self, number: int) -> Head:
        """Return number and hash of the newest entry about trial `number`."""
        return self._heads[number]

    def faults(self, number: int) -> int:
        """Return how many attempts of trial `number` a fault of the infrastructure has ended."""
        return self._faults[number]

    def unfinished(self) -> list[dict[str, Any]]:
        """Return the pending trials with what their present attempts have cost at least, as `resumed` records them."""
        now = self._last or 0.0
        return [
            {"number": number, "cost_seconds": round(max(0.0, now - self._attempt_began[number]), 6)}
            for number in sorted(self.pending)
        ]

    def apply(self, entry: Entry) -> list[int]:
        """Take in the next entry and return the numbers of the trials it changed; other kinds change none."""
        match entry.kind:
            case "priors":
                changed = self._priors(entry)
            case "proposals":
                changed = self._proposals(entry)
            case "report":
                changed = self._report(entry)
            case "outcome":
                changed = self._outcome(entry)
            case "retry":
                changed = self._another_attempt(entry, [entry.data])
                self._faults[entry.data["number"]] += 1
            case "resumed":
                changed = self._another_attempt(entry, entry.data["trials"])
            case _:
                return []
        self._clock(entry)
        for number in changed:
            self._heads[number] = Head(entry.seq, entry.hash)
        return changed

    def _clock(self, entry: Entry) -> None:
        now = datetime.fromisoformat(entry.time).timestamp()
        if self._last is not None and entry.kind != "resumed":
            self.seconds += max(0.0, now - self._last)  # a clock that was set back is no gain
        self._last = now

    def _priors(self, entry: Entry) -> list[int]:
        trials = [trial_from_json(number, data) for number, data in enumerate(entry.data["trials"])]
        self.ended = self.priors = len(trials)
        return self._add(entry, 0, trials)

    def _proposals(self, entry: Entry) -> list[int]:
        first, accepted = entry.data["first"], entry.data["accepted"]
        self.dry = not accepted
        self.begun = True
        began = datetime.fromisoformat(entry.time).timestamp()
        trials = [
            Trial(
                number=first + index,
                architecture=tuple(proposal["architecture"]),
                fidelity=proposal["fidelity"],
                parents=tuple(proposal["parents"]),
            )
            for index, proposal in enumerate(accepted)
        ]
        self.pending.update(trial.number for trial in trials)
        self._attempt_began.update((trial.number, began) for trial in trials)
        return self._add(entry, first, trials)

    def _add(self, entry: Entry, first: int, trials: list[Trial]) -> list[int]:
        if first != len(self.trials):
            raise IntegrityError(f"entry {entry.seq}: begins at trial {first}, expected {len(self.trials)}", entry.seq)
        self.trials += trials
        self._heads += [Head(entry.seq, entry.hash)] * len(trials)
        return list(range(first, len(self.trials)))

    def _report(self, entry: Entry) -> list[int]:
        trial = self._running(entry, entry.data["number"])
        self.trials[trial.number] = with_report(trial, entry.data["step"], entry.data["metrics"])
        if entry.data["stop"]:
            self.stopping.add(trial.number)
        self.dry = False
        return [trial.number]

    def _outcome(self, entry: Entry) -> list[int]:
        trial, data = self._running(entry, entry.data["number"]), entry.data
        self.trials[trial.number] = replace(
            trial,
            status=Status(data["status"]),
            finished=data["finished"],
            metrics=data.get("metrics"),
            cost_seconds=trial.cost_seconds + data["cost_seconds"],
            error=data.get("reason", ""),
        )
        self.trial_seconds += data["cost_seconds"]
        self.pending.remove(trial.number)
        self._attempt_began.pop(trial.number)
        self.ended += 1
        self.dry = False
        return [trial.number]

    def _another_attempt(self, entry: Entry, ended: Iterable[dict[str, Any]]) -> list[int]:
        changed = []
        for data in ended:
            trial, cost = self._running(entry, data["number"]), data["cost_seconds"]
            self.trials[trial.number] = replace(
                trial, attempt=trial.attempt + 1, cost_seconds=trial.cost_seconds + cost
            )
            self.trial_seconds += cost
            self._attempt_began[trial.number] = datetime.fromisoformat(entry.time).timestamp()
            changed.append(trial.number)
        return changed

    def _running(self, entry: Entry, number: int) -> Trial:
        if number not in self.pending:
            raise IntegrityError(f"entry {entry.seq}: trial {number} is not running", entry.seq)
        return self.trials[number]


def with_report(trial: Trial, step: int, metrics: Metrics) -> Trial:
    """Return `trial` with one more point on its curve."""
    return replace(trial, curve=(*trial.curve, (step, metrics)))


def trial_to_json(trial: Trial) -> dict[str, Any]:
    """Return what a later study needs to know of a finished trial; numbers are left out, they mean nothing there."""
    return {
        "architecture": list(trial.architecture),
        "fidelity": trial.fidelity,
        "origin": trial.origin,
        "status": trial.status,
        "curve": [[step, dict(metrics)] for step, metrics in trial.curve],
        "metrics": None if trial.metrics is None else dict(trial.metrics),
        "cost_seconds": trial.cost_seconds,
        "error": trial.error,
    }


def proposal_to_json(proposal: Proposal) -> dict[str, Any]:
    """Return `proposal` as JSON values; a number that JSON lacks (an infinite acquisition value) becomes its text."""
    return {
        "architecture": proposal.architecture,
        "fidelity": _number(proposal.fidelity),
        "parents": proposal.parents,
        "why": {name: value if isinstance(value, str) else _number(value) for name, value in proposal.why},
    }


def _number(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def trial_from_json(number: int, data: dict[str, Any]) -> Trial:
    """Return trial `number`, which is also its rank, of a history that begins with such trials."""
    return Trial(
        **{
            **data,
            "number": number,
            "finished": number,
            "architecture": tuple(data["architecture"]),
            "status": Status(data["status"]),
            "curve": tuple((step, metrics) for step, metrics in data["curve"]),
        }
    )
