"""The side of Ray that runs in worker processes: one trial under Tune, or a chunk of cheap ones as a task."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune

from nas_core.deadline import held_off, within
from nas_core.failures import attempt
from nas_core.interfaces import BatchEstimator, Rung
from nas_core.runner import estimate_batch
from nas_core.types import Failure, Metrics, Trial

OUTCOME, REPORT = "evernas_outcome", "evernas_report"
"""Keys of what a worker sends. The values are lists, because Tune flattens dictionaries."""


class CheckpointStore(Protocol):
    """What a session needs of `nas_core.checkpoints.Checkpoints`, wherever checkpoints lie."""

    def newest(self, number: int) -> Path | None:
        """Return the newest checkpoint of trial `number`; None if there is none."""
        ...

    def save(self, number: int, attempt: int, step: int, write: Callable[[Path], None]) -> None:
        """Keep what `write` puts into a folder as the checkpoint of an attempt at a step."""
        ...


@dataclass(frozen=True)
class Job:
    """What all trials of a search share; `rungs` is Ray's reference to the ladder, lowest rung first."""

    rungs: Any
    checkpoints: Callable[[], CheckpointStore]
    device: str
    timeout: float | None


def rung_of(ladder: Sequence[Rung], trial: Trial) -> int:
    """Return the index of the lowest rung that takes `trial`."""
    return next(index for index, rung in enumerate(ladder) if trial.fidelity <= rung.fidelity)


_held: dict[str, Sequence[Rung]] = {}


def held(reference: Any) -> Sequence[Rung]:
    """Return the rungs behind Ray's reference, made once a process.

    Their numpy arrays are not copied: all processes of a machine read them in the object store. Torch's tensors are
    copied, once a process; shared memory is read-only, and a write by torch would be a crash, not an error.
    """
    key = reference.hex()
    if key not in _held:
        _held.clear()  # the search before, if the process has served one
        _held[key] = ray.get(reference)
    return _held[key]


class TuneSession:
    """See `nas_core.interfaces.Session`; in a Tune worker. A stop is a SystemExit out of `report`, never True."""

    def __init__(self, trial: Trial, checkpoints: CheckpointStore, device: str) -> None:
        self._number, self._attempt = trial.number, trial.attempt
        self._checkpoints, self._device = checkpoints, device

    @property
    def device(self) -> str:
        """The torch device of the worker."""
        return self._device

    def report(self, step: int, metrics: Metrics, save: Callable[[Path], None] | None = None) -> bool:
        """Send one report to the driver, then save: killed in between, the trial goes on from the checkpoint before."""
        with held_off():
            tune.report({REPORT: [step, dict(metrics)]})
        if save:
            self._checkpoints.save(self._number, self._attempt, step, save)
        return False

    def restore(self, number: int | None = None) -> Path | None:
        """Return the newest checkpoint of this trial, or of trial `number`."""
        return self._checkpoints.newest(self._number if number is None else number)


def evaluate(config: Mapping[str, Any], *, job: Job) -> None:
    """Run one trial in a worker process and report its outcome; what the estimator raises becomes a `Failure` here."""
    trial: Trial = config["trial"]
    ladder = held(job.rungs)
    estimator = ladder[rung_of(ladder, trial)].estimator
    if isinstance(estimator, BatchEstimator):
        raise TypeError(f"trial {trial.number}: cheap estimates are tasks of their own")
    session = TuneSession(trial, job.checkpoints(), job.device)
    began = time.perf_counter()
    outcome = attempt(partial(within, job.timeout, partial(estimator.estimate, trial, session)))
    tune.report({OUTCOME: [outcome, time.perf_counter() - began]})


def evaluate_chunk(
    references: Sequence[Any], rung: int, trials: Sequence[Trial]
) -> tuple[Sequence[Metrics | Failure], float]:
    """Run cheap trials of a rung in a worker process; return an outcome each, and the seconds that all took.

    `references` holds Ray's reference to the rungs: in a list, Ray leaves it to `held` to make them.
    """
    estimator = held(references[0])[rung].estimator
    if not isinstance(estimator, BatchEstimator):
        raise TypeError(f"trials of rung {rung} are run one by one")
    began = time.perf_counter()
    return estimate_batch(estimator, trials), time.perf_counter() - began
