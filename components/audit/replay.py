"""A trial done again from its record: the same spec, data, seed and estimator; then its figures side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components import parts, supernets
from components.audit.candidate import read_history
from components.audit.repetition import Repetition
from components.prepared import Prepared
from components.provenance import environment
from components.run import Run
from components.spec import Spec
from components.spec_file import parse_spec
from nas_core.errors import InputError, IntegrityError
from nas_core.estimators.costed import costed
from nas_core.interfaces import Rung
from nas_core.ledger import Entry, Ledger
from nas_core.runner import LocalRunner
from nas_core.types import Budget, Metrics, Status, Trial

SEEN = ("train", "validation")
"""The splits that the search was given."""

OnReport = Callable[[int, int, Metrics], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """A figure that came out otherwise; None stands for one that is not there. `step` is None for the end."""

    step: int | None
    metric: str
    recorded: float | str | None
    found: float | str | None

    @property
    def difference(self) -> float | None:
        """Found less recorded, None where one of them is no number."""
        if isinstance(self.recorded, float) and isinstance(self.found, float):
            return self.found - self.recorded
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of a trial the second time.

    `line` are the trials that were done again, the last the one asked for; `compared` is the number of figures;
    `environment` what differs by name: (recorded, now).
    """

    run: str
    trial: int
    line: tuple[int, ...]
    status: tuple[str, str]
    compared: int
    deviations: tuple[Deviation, ...]
    environment: Mapping[str, tuple[Any, Any]]

    @property
    def identical(self) -> bool:
        """Whether every figure is, to the last bit."""
        return not self.deviations

    def broken(self, *, strict: bool = False) -> bool:
        """Whether the record is contradicted: figures differ though nothing else does, or at all if `strict`."""
        return not self.identical and (strict or not self.environment)

    def to_json(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return {
            "run": self.run,
            "trial": self.trial,
            "line": list(self.line),
            "status": dict(zip(("recorded", "found"), self.status, strict=True)),
            "identical": self.identical,
            "compared": self.compared,
            "deviations": [
                {
                    "step": each.step,
                    "metric": each.metric,
                    "recorded": each.recorded,
                    "found": each.found,
                    "difference": each.difference,
                }
                for each in self.deviations
            ],
            "environment": {name: {"recorded": was, "now": now} for name, (was, now) in self.environment.items()},
        }


def replay(run: Run, number: int, on_report: OnReport = lambda _number, _step, _metrics: None) -> Replay:
    """Do trial `number` of `run` again, in a folder that is gone afterwards, and compare; nothing is written to `run`.

    A trial that may go on from another's weights, its first parent's, has that one done again first, and so on: what it
    does with them is the estimator's. One that the stopper ended is ended at the same report. `on_report` is told the
    number of the trial that runs, its step and its metrics.

    IntegrityError names the prepared data that is not what the ledger recorded. InputError for a trial that has no end,
    was not started, or was lost with its worker: there is nothing to compare with. What a clock decides is not
    compared.
    """
    entries = list(Ledger(run.store).entries())
    history = read_history(entries)
    trials = history.trials
    if not 0 <= number < len(trials) or trials[number].origin:
        raise InputError(f"trial {number}: run {run.id} has not tried it; it has {len(trials)} trials")
    recorded = trials[number]
    if recorded.status is Status.INFEASIBLE and not recorded.cost_seconds:
        raise InputError(f"trial {number}: was not started ({recorded.error}), so there is nothing to replay")
    if recorded.status in (Status.PENDING, Status.LOST):
        why = f"was lost ({recorded.error})" if recorded.status is Status.LOST else "has no end on record"
        raise InputError(f"trial {number}: {why}, so there is nothing to compare with; replay another")
    run.kept.fetch(["data_prep", "search"] if run.spec.search.supernet else ["data_prep"])
    _check_data(run, entries)
    line = _line(trials, number)
    stops = {other: trials[other].curve[-1][0] for other in line if other in history.stopping}
    spec = parts.grounded(_spec(run, entries), run.base)
    metrics = [objective.metric for objective in parts.objectives(spec)]
    repetition = Repetition([trials[other] for other in line], metrics, stops, on_report)
    timed = _run(spec, run, recorded, repetition)
    found = repetition.history[number]
    deviations, compared = _compare(recorded, found, timed)
    return Replay(
        run=run.id,
        trial=number,
        line=tuple(line),
        status=(str(recorded.status), str(found.status)),
        compared=compared,
        deviations=tuple(deviations),
        environment=_environment(entries, number),
    )


def _spec(run: Run, entries: Sequence[Entry]) -> Spec:
    """Return the spec on record, which is not that of a file that anybody may have changed."""
    text = next((entry.data["spec"] for entry in entries if entry.kind == "cycle"), run.spec_text)
    return parse_spec(text, f"the spec of run {run.id}")


def _check_data(run: Run, entries: Sequence[Entry]) -> None:
    """Raise IntegrityError unless the prepared data of the cycle are what the ledger says."""
    stage = [entry for entry in entries if entry.kind == "stage" and entry.data["stage"] == "data_prep"][-1:]
    if not stage:
        raise InputError(f"run {run.id}: has no prepared data on record; nothing can have been trained")
    wrong = []
    for name, digest in stage[0].data["files"].items():
        path = run.folder / "data_prep" / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            wrong.append(f"{name} has other bytes")
    if wrong:
        raise IntegrityError(
            f"run {run.id}: data_prep is not what entry {stage[0].seq} recorded: {', '.join(wrong)}; put the files "
            "back, for another training would not be this one",
            stage[0].seq,
        )


def _line(trials: Sequence[Trial], number: int) -> list[int]:
    """Return the numbers of the trials that weights may have come from, the oldest first, and `number` itself."""
    line = [number]
    while (parents := trials[line[0]].parents) and not trials[parents[0]].origin:
        line.insert(0, parents[0])
    return line


def _run(spec: Spec, run: Run, recorded: Trial, repetition: Repetition) -> frozenset[str]:
    """Do the trials of `repetition`; return the metrics that a clock decides, which no repetition can give again."""
    prepared = Prepared.load(run.folder / "data_prep")
    space = parts.build_space(spec, prepared.signature)
    trained = supernets.recorded(Ledger(run.store), run.folder / "search" / supernets.FOLDER)
    spec = supernets.applied(spec, trained)
    task = prepared.task(*SEEN, **spec.task.augmentation)
    costs = parts.build_costs(spec, space, task)
    estimator = costed(space, parts.build_estimator(spec, space, task), costs)
    # A limit of time belongs to the machine: it is kept only where it was what ended the trial.
    timed_out = recorded.error.partition(":")[0] == "timeout"
    timeout = spec.search.runner.timeout_seconds if timed_out else None
    with TemporaryDirectory(prefix="evernas-replay-") as folder:
        LocalRunner(Path(folder), timeout=timeout).run(repetition, [Rung(1.0, estimator)], Budget())
    return frozenset(name for cost in costs if cost.timed for name in cost.metrics)


def _compare(recorded: Trial, found: Trial, timed: Collection[str]) -> tuple[list[Deviation], int]:
    """Return the figures that differ, and how many there are; those that are `timed` do not count."""
    was, now = ({at: value for at, value in _figures(trial) if at[1] not in timed} for trial in (recorded, found))
    names = [*was, *(name for name in now if name not in was)]
    return [
        Deviation(step=step, metric=metric, recorded=was.get((step, metric)), found=now.get((step, metric)))
        for step, metric in names
        if was.get((step, metric)) != now.get((step, metric))
    ], len(names)


def _figures(trial: Trial) -> Iterator[tuple[tuple[int | None, str], float | str]]:
    """Yield the status, the code of a failure, and all metrics by their steps; the words of a failure may vary."""
    yield (None, "status"), str(trial.status)
    if trial.error:
        yield (None, "failure"), trial.error.partition(":")[0]
    for step, metrics in trial.curve:
        yield from (((step, name), float(value)) for name, value in metrics.items())
    yield from (((None, name), float(value)) for name, value in (trial.metrics or {}).items())


def _environment(entries: Sequence[Entry], number: int) -> dict[str, tuple[Any, Any]]:
    """Return what differs between here and where the trial was run, by name: (recorded, now)."""
    was: Mapping[str, Any] = {}
    for entry in entries:
        if entry.kind in ("cycle", "continued"):
            was = entry.data["environment"]
        if entry.kind == "outcome" and entry.data["number"] == number:
            break
    now: Mapping[str, Any] = environment()
    return {n: (was.get(n), now.get(n)) for n in sorted({*was, *now}) if was.get(n) != now.get(n)}
