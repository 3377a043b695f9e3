"""Keeps MLflow up to date with the ledger while a search runs, in a thread, so that a slow server slows nothing."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from components.backends.mlflow_tracking import Candidate, Tracker
from nas_core.errors import IntegrityError, OutsideError
from nas_core.history import History
from nas_core.ledger import EMPTY, Entry, Head, Ledger
from nas_core.types import Architecture, Status, Trial

Names = Callable[[Architecture], tuple[str, Mapping[str, str]]]
"""Gives an architecture's canonical id and its active decisions by name."""

_SECONDS_BETWEEN_TRIES = 5.0
_LAST_TRY_SECONDS = 10.0


def mirror(tracker: Tracker, entries: Iterable[Entry], names: Names) -> int:
    """Make a child run of every outcome in `entries` that has none yet, and return how many outcomes there are.

    OutsideError when MLflow fails; called again, it goes on.
    """
    fold, count = _Fold(names), 0
    for entry in entries:
        if candidate := fold.take(entry):
            tracker.mirror(candidate)
            count += 1
    return count


class _Fold:
    """Turns a ledger's entries, in order, into candidates, one for every outcome."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._history = History()
        self._times: dict[int, list[int]] = {}

    def take(self, entry: Entry) -> Candidate | None:
        for number in self._history.apply(entry):
            if entry.kind in ("proposals", "report", "outcome"):  # a further attempt is still the same trial
                self._times.setdefault(number, []).append(_milliseconds(entry))
            if entry.kind == "outcome":
                return self._candidate(self._history.trials[number], entry)
        return None

    def _candidate(self, trial: Trial, entry: Entry) -> Candidate:
        """Return `trial` as MLflow shows it: its curve at the times of its reports, metrics and cost at its end."""
        begin, *reports, end = self._times.pop(trial.number)
        identity, decisions = self._names(trial.architecture)
        curve = [
            (metric, value, time, step)
            for time, (step, metrics) in zip(reports, trial.curve, strict=True)
            for metric, value in metrics.items()
        ]
        last = trial.curve[-1][0] if trial.curve else 0
        known = trial.curve[-1][1] if trial.curve else {}
        final = [(m, v, end, last) for m, v in (trial.metrics or {}).items() if known.get(m) != v]
        tags = {
            "evernas.architecture": identity,
            "evernas.status": str(trial.status),
            "evernas.error": trial.error,
            "evernas.ledger_seq": str(entry.seq),
            "evernas.ledger_hash": entry.hash,
        }
        params = {**decisions, "fidelity": f"{trial.fidelity:g}", "parents": ",".join(map(str, trial.parents))}
        return Candidate(
            number=trial.number,
            name=f"trial-{trial.number}",
            params={name: value for name, value in params.items() if value},
            points=[*curve, *final, ("cost_seconds", trial.cost_seconds, end, last)],
            tags={name: value for name, value in tags.items() if value},
            failed=trial.status not in (Status.OK, Status.PRUNED),
            start=begin,
            end=end,
        )


def _milliseconds(entry: Entry) -> int:
    return int(datetime.fromisoformat(entry.time).timestamp() * 1000)


class Mirror:
    """Follows a growing ledger in a thread. What MLflow cannot take is tried again later, here or by the last step.

    `note` is told, once an outage, that MLflow is behind, and that it has caught up.
    """

    def __init__(self, tracker: Tracker, ledger: Ledger, names: Names, note: Callable[[str], None]) -> None:
        self._tracker, self._ledger, self._note = tracker, ledger, note
        self._fold, self._head = _Fold(names), EMPTY
        self._waiting: deque[Candidate] = deque()
        self._news, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="mlflow-mirror", daemon=True)

    def wake(self) -> None:
        """Say that there is news in the ledger; returns at once."""
        self._news.set()

    def __enter__(self) -> Mirror:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._news.set()
        self._thread.join(_LAST_TRY_SECONDS)

    def _follow(self) -> None:
        behind = last = False
        while not last:
            self._news.wait()
            self._news.clear()
            last = self._end.is_set()  # looked at before the ledger, so that the last round sees all of it
            try:
                self._catch_up()
            except OutsideError as error:
                if not behind:
                    self._note(f"MLflow is behind, the search goes on: {error}")
                behind = True
                self._end.wait(_SECONDS_BETWEEN_TRIES)
                self._news.set()
            except IntegrityError as error:
                self._note(f"MLflow is no longer kept up to date: {error}")
                return
            else:
                if behind:
                    self._note("MLflow has caught up")
                behind = False

    def _catch_up(self) -> None:
        for entry in self._ledger.entries(after=self._head):
            self._head = Head(entry.seq, entry.hash)
            if candidate := self._fold.take(entry):
                self._waiting.append(candidate)
        while self._waiting:
            self._tracker.mirror(self._waiting[0])
            self._waiting.popleft()
