"""Keeps MLflow up to date with the ledger while a search runs, in a thread, so that a slow server slows nothing.

The ledger is the outbox: what MLflow has not taken is not kept here, but read there when MLflow answers again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath

from components.backends.mlflow_parent import Parent
from components.backends.mlflow_records import LEDGER_HASH, LEDGER_SEQ
from components.backends.mlflow_tracking import Candidate, Tracker
from nas_core.errors import OutsideError
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
    count = 0
    for candidate in candidates(entries, names):
        tracker.mirror(candidate)
        count += 1
    return count


def sync(
    tracker: Tracker,
    entries: Iterable[Entry],
    names: Names,
    parent: Parent | None = None,
    files: Mapping[str, Path] | None = None,
) -> dict[str, int]:
    """Bring MLflow up to the ledger, whoever left it behind, and return what there was to do.

    `candidates` counts the outcomes in `entries`, `made` the child runs that were missing, `completed` those that were
    begun only, `closed` whether the cycle's own run had not the end that is on record. `parent` is what that shows, and
    `files` are its artifacts by their paths; without them it is left as it is. What MLflow has is looked up anew, and a
    second run of one candidate deleted. OutsideError when MLflow fails; called again, it goes on.
    """
    tracker.forget()
    known = tracker.known()
    counts = {"candidates": 0, "made": 0, "completed": 0, "closed": 0}
    for candidate in candidates(entries, names):
        counts["candidates"] += 1
        if not known.get(candidate.number):
            tracker.mirror(candidate)
            counts["completed" if candidate.number in known else "made"] += 1
    if parent:
        counts["closed"] = int(_tell(tracker, parent, files or {}))
    return counts


def _tell(tracker: Tracker, parent: Parent, files: Mapping[str, Path]) -> bool:
    """Let the cycle's run show what the newest report told; its end comes last, and says that it is complete."""
    if parent.dataset:
        tracker.dataset(*parent.dataset)
    if parent.tellings:
        newest = parent.tellings[-1]
        tracker.describe(params=newest.params, tags=newest.tags)
        tracker.measure(newest.metrics, newest.at)
    for name, path in files.items():
        folder = str(PurePosixPath(name).parent)
        tracker.files([path], None if folder == "." else folder)
    if parent.ended and parent.endings:
        return tracker.close(parent.endings[-1].status, parent.endings[-1].at)
    return False


def candidates(entries: Iterable[Entry], names: Names) -> Iterator[Candidate]:
    """Yield a candidate for every outcome in `entries`, which begin with the ledger's first."""
    fold = Fold(names)
    return (candidate for entry in entries if (candidate := fold.take(entry)))


class Fold:
    """Turns a ledger's entries, in order, into candidates, one for every outcome; of those it forgets the curves."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._history = History()
        self._times: dict[int, list[int]] = {}

    def take(self, entry: Entry) -> Candidate | None:
        """Take in the next entry and return the candidate that it ends, if it ends one."""
        for number in self._history.apply(entry):
            if entry.kind in ("proposals", "report", "outcome"):  # a further attempt is still the same trial
                self._times.setdefault(number, []).append(milliseconds(entry))
            if entry.kind == "outcome":
                trial = self._history.trials[number]
                self._history.trials[number] = replace(trial, curve=(), metrics=None, error="")
                return self._candidate(trial, entry)
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
            "evernas.attempt": str(trial.attempt or ""),
            LEDGER_SEQ: str(entry.seq),
            LEDGER_HASH: entry.hash,
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


def milliseconds(entry: Entry) -> int:
    """Return when `entry` was written, in milliseconds since 1970."""
    return int(datetime.fromisoformat(entry.time).timestamp() * 1000)


class Mirror:
    """Follows a growing ledger in a thread. What MLflow cannot take is tried again later, here or by the last step.

    During an outage it stays where it is in the ledger, so that nothing piles up in memory. `note` is told, once an
    outage, that MLflow is behind, and that it has caught up. Nothing that goes wrong here reaches the search.
    """

    def __init__(self, tracker: Tracker, ledger: Ledger, names: Names, note: Callable[[str], None]) -> None:
        self._tracker, self._ledger, self._note = tracker, ledger, note
        self._fold, self._head = Fold(names), EMPTY
        self._feed: Iterator[Entry] = iter(())
        self._waiting: Candidate | None = None
        self._news, self._end, self._left = threading.Event(), threading.Event(), threading.Event()
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
        self._left.set()  # from here on the rest is for the last step, which must not meet this thread at work

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
            except Exception as error:  # noqa: BLE001  a broken ledger, or names that are not to be had
                self._note(f"MLflow is no longer kept up to date: {error}")
                return
            else:
                if behind:
                    self._note("MLflow has caught up")
                behind = False

    def _catch_up(self) -> None:
        """Mirror what there is in the ledger, from where the last round ended or failed."""
        while not self._left.is_set():
            if self._waiting is None and not self._advance():
                return
            if self._waiting is not None:
                self._tracker.mirror(self._waiting)
                self._waiting = None

    def _advance(self) -> bool:
        """Take in the next entry; False if there is none. A feed that has run dry ends with a whole commit."""
        entry = next(self._feed, None)
        if entry is None:
            self._feed = self._ledger.entries(after=self._head)
            entry = next(self._feed, None)
            if entry is None:
                return False
        self._head = Head(entry.seq, entry.hash)
        self._waiting = self._fold.take(entry)
        return True
