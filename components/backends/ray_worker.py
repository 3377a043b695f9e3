"""The side of Ray Tune that runs in a worker process: one trial, its reports and its outcome sent to the driver."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from nas_core.checkpoints import Checkpoints
from nas_core.failures import attempt
from nas_core.interfaces import BatchEstimator, Rung
from nas_core.runner import estimate_batch
from nas_core.types import Failure, Metrics, Trial

OUTCOME, REPORT = "evernas_outcome", "evernas_report"
"""Keys of what a worker sends. The values are lists, because Tune flattens dictionaries."""


class TuneSession:
    """See `nas_core.interfaces.Session`; in a Tune worker. A stop is a SystemExit out of `report`, never True."""

    def __init__(self, number: int, checkpoints: Checkpoints, device: str) -> None:
        self._number, self._checkpoints, self._device = number, checkpoints, device
        self._attempt = checkpoints.next_attempt(number)

    @property
    def device(self) -> str:
        """The torch device of the worker."""
        return self._device

    def report(self, step: int, metrics: Metrics, save: Callable[[Path], None] | None = None) -> bool:
        """Send one report to the driver, then save: killed in between, the trial goes on from the checkpoint before."""
        tune.report({REPORT: [step, dict(metrics)]})
        if save:
            self._checkpoints.save(self._number, self._attempt, step, save)
        return False

    def restore(self, number: int | None = None) -> Path | None:
        """Return the newest checkpoint of this trial, or of trial `number`."""
        return self._checkpoints.newest(self._number if number is None else number)


def evaluate(config: Mapping[str, Any], *, rungs: Sequence[Rung], folder: Path, device: str) -> None:
    """Run one trial in a worker process and report its outcome; what the estimator raises becomes a `Failure` here."""
    trial: Trial = config["trial"]
    able = [rung for rung in rungs if trial.fidelity <= rung.fidelity]
    estimator = min(able, key=lambda rung: rung.fidelity).estimator
    began = time.perf_counter()
    outcome: Metrics | Failure
    if isinstance(estimator, BatchEstimator):
        [outcome] = estimate_batch(estimator, [trial])
    else:
        session = TuneSession(trial.number, Checkpoints(folder), device)
        outcome = attempt(partial(estimator.estimate, trial, session))
    tune.report({OUTCOME: [outcome, time.perf_counter() - began]})
