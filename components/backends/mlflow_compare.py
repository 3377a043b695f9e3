"""Whether MLflow says what the ledger says: what the mirror would write beside what is there, both ways.

Every run that MLflow shows under a cycle, or hides as deleted, is looked at whole: names, status, times, tags,
parameters, each point of each metric, data, models, and files. What MLflow itself cannot tell from the mirror's own
doing is not found: traces and comments on an experiment are no part of a run, and a run that was adopted from Kubeflow
Pipelines may carry tags, parameters and files of its makers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from components.backends.mirror import Names, candidates
from components.backends.mlflow_cycle import differ_cycle
from components.backends.mlflow_difference import Difference, differ
from components.backends.mlflow_parent import Parent
from components.backends.mlflow_records import (
    ADOPTED,
    ENDED,
    KIND,
    LEDGER_HASH,
    LEDGER_SEQ,
    NAME,
    PARENT,
    RUN,
    RUNNING,
    TRIAL,
    Candidate,
    record,
)
from components.backends.mlflow_runs import every_experiment, search
from components.backends.mlflow_tracking import Tracker, outside
from nas_core.errors import EvernasError
from nas_core.ledger import Entry

__all__ = ["Difference", "differences"]

_MARKS = (TRIAL, NAME, LEDGER_SEQ, LEDGER_HASH)
"""The tags by which a run is known to be a candidate's: two of them have to be right."""


def differences(
    tracker: Tracker,
    entries: Iterable[Entry],
    names: Names,
    files: Mapping[str, str] | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    parent: Parent | None = None,
) -> Iterator[Difference]:
    """Yield every difference between what `tracker` would show of `entries` and what MLflow holds; it changes nothing.

    `files` are the SHA-256 of the cycle's artifacts by their paths, None: they are not looked at. `parent` is what the
    cycle's run shows; without it only that it is there, and whose it is, are looked at. `progress` is told the number
    of candidates that are compared. Only candidates beyond the newest that MLflow has whole can be behind.
    OutsideError when MLflow cannot be reached.
    """
    try:
        yield from _Comparison(tracker, names, progress).run(entries, parent, files)
    except EvernasError:
        raise
    except Exception as error:
        raise outside(error) from error


class _Comparison:
    """Runs of MLflow and candidates of the ledger, each of which is at most once the other's."""

    def __init__(self, tracker: Tracker, names: Names, progress: Callable[[int], None]) -> None:
        self._tracker, self._client = tracker, tracker.client
        self._names, self._progress = names, progress
        self._infos: dict[str, Any] = {}
        self._marked: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._taken: set[str] = set()
        self._parent = ""
        self._held: list[tuple[Candidate, list[Difference] | None]] = []

    def run(
        self, entries: Iterable[Entry], parent: Parent | None, files: Mapping[str, str] | None
    ) -> Iterator[Difference]:
        """Yield all differences: of the experiment, of candidates in the ledger's order, of strangers, of the cycle."""
        yield from self._find()
        for number, candidate in enumerate(candidates(entries, self._names), 1):
            yield from self._candidate(candidate)
            self._progress(number)
        yield from self._strangers()
        yield from self._rest()
        told = self._client.get_run(self._parent) if self._parent else None
        yield from differ_cycle(self._tracker, told, parent, files, children=bool(self._taken))

    # ---------------------------------------------------------------- what there is

    def _find(self) -> Iterator[Difference]:
        """Look for all runs of the cycle, wherever they are; what was adopted is elsewhere by right."""
        name = self._tracker.experiment
        known = self._client.get_experiment_by_name(name)
        every = every_experiment(self._client)
        homes = [known.experiment_id] if known else every
        infos = {}
        for run in search(self._client, homes, {RUN: self._tracker.run}, deleted=True):
            infos[run.info.run_id] = run
        for run in search(self._client, every, {RUN: self._tracker.run, ADOPTED: name}, deleted=True):
            infos[run.info.run_id] = run
            for child in search(self._client, [run.info.experiment_id], {RUN: self._tracker.run}, deleted=True):
                infos[child.info.run_id] = child
        self._parent = self._find_parent(list(infos.values()))
        if self._parent:
            for run in search(self._client, every, {PARENT: self._parent}, deleted=True):
                infos[run.info.run_id] = run
        for run in infos.values():
            self._add(run)
        adopted = any(run.data.tags.get(ADOPTED) == name for run in infos.values())
        if infos and not known and not adopted:
            other = self._client.get_experiment(next(iter(infos.values())).info.experiment_id)
            yield Difference("experiment", "run", "name", name, other.name)

    def _add(self, run: Any) -> None:
        run_id = str(run.info.run_id)
        if run_id == self._parent or run_id in self._infos:
            return
        self._infos[run_id] = run.info
        for mark in _MARKS:
            self._marked[mark, run.data.tags.get(mark, "")].append(run_id)

    def _find_parent(self, runs: list[Any]) -> str:
        """Return the id of the cycle's run: the one that most others call their parent, else the one that says so."""
        votes = Counter(tag for run in runs if (tag := run.data.tags.get(PARENT)))
        if votes:
            return str(votes.most_common(1)[0][0])
        ours = [run.info for run in runs if run.data.tags.get(KIND, "cycle") == "cycle"]
        ours.sort(key=lambda info: info.lifecycle_stage != "active")
        return str(ours[0].run_id) if ours else ""

    # ---------------------------------------------------------------- candidates

    def _candidate(self, candidate: Candidate) -> Iterator[Difference]:
        info = self._match(candidate)
        if info is None:
            self._held.append((candidate, None))
            return
        yield from self._release()
        if info.lifecycle_stage != "active":
            yield _missing(candidate)
            return
        found = list(self._compare(candidate, info.run_id))
        if info.status == RUNNING and info.end_time is None:
            self._held.append((candidate, found))
        else:
            yield from found

    def _match(self, candidate: Candidate) -> Any | None:
        """Return the run that bears most marks of `candidate`; of equals an active, a whole, the truest one."""
        marks = {TRIAL: str(candidate.number), NAME: candidate.name, **_ledger_marks(candidate)}
        votes = Counter(run_id for mark in marks.items() for run_id in self._marked[mark] if run_id not in self._taken)
        most = max(votes.values(), default=0)
        equals = [self._infos[run_id] for run_id, count in votes.items() if count == most]
        if most < 2:
            return None
        equals = [info for info in equals if info.lifecycle_stage == "active"] or equals[:1]
        equals.sort(key=lambda info: (info.status not in ENDED, info.run_id))
        if len(equals) > 1:
            equals.sort(key=lambda info: len(list(self._compare(candidate, info.run_id))))
        self._taken.add(equals[0].run_id)
        return equals[0]

    def _compare(self, candidate: Candidate, run_id: str) -> Iterator[Difference]:
        run = self._client.get_run(run_id)
        return differ(candidate.name, record(candidate, self._tracker.run, self._parent), run, self._client)

    def _release(self) -> Iterator[Difference]:
        """Yield what was held back: something newer is there, so it is not behind but was meddled with."""
        for candidate, found in self._held:
            yield from self._stray(candidate) if found is None else found
        self._held.clear()

    def _stray(self, candidate: Candidate) -> Iterator[Difference]:
        """Look for a run that lost the tags by which a cycle's runs are found, but is the candidate's by its hash."""
        homes = {info.experiment_id for info in self._infos.values()}
        wanted = {LEDGER_HASH: candidate.tags[LEDGER_HASH]}
        for run in search(self._client, sorted(homes), wanted):
            if run.info.run_id not in self._infos:
                self._add(run)
                self._taken.add(run.info.run_id)
                yield from self._compare(candidate, run.info.run_id)
                return
        yield _missing(candidate)

    def _rest(self) -> Iterator[Difference]:
        """Yield what is behind: the candidates at the end that MLflow has not, and what an un-ended one lacks."""
        for candidate, found in self._held:
            untold = (("status", "status"), ("time", "end"))
            yield from (each for each in found or [] if each.kind != "deleted" and (each.what, each.name) not in untold)
            yield Difference(candidate.name, "run", "run", candidate.name, None, behind=True)
        self._held.clear()

    def _strangers(self) -> Iterator[Difference]:
        """Yield the runs that no entry speaks of, and those that are there twice; what is hidden besides is no harm."""
        for run_id, info in sorted(self._infos.items()):
            if run_id not in self._taken and info.lifecycle_stage == "active":
                yield Difference(info.run_name, "run", run_id, None, info.run_name)


def _ledger_marks(candidate: Candidate) -> dict[str, str]:
    return {key: candidate.tags[key] for key in (LEDGER_SEQ, LEDGER_HASH)}


def _missing(candidate: Candidate) -> Difference:
    return Difference(candidate.name, "run", "run", candidate.name, None)
