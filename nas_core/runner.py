"""The in-process runner: trials one after another, or in one cheap call, by the lane that their fidelity leads to."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from nas_core.budget import Meter
from nas_core.checkpoints import Checkpoints
from nas_core.deadline import held_off, within
from nas_core.errors import InputError
from nas_core.failures import attempt
from nas_core.interfaces import BatchEstimator, Estimator, Rung, Study
from nas_core.types import Budget, Failure, Metrics, Trial


class CheckpointStore(Protocol):
    """What a trial saves to and restores from, wherever that lies; see `nas_core.checkpoints.Checkpoints`."""

    def newest(self, number: int) -> Path | None:
        """Return the checkpoint of trial `number` that has come furthest."""
        ...

    def save(self, number: int, attempt: int, step: int, write: Callable[[Path], None]) -> None:
        """Let `write` fill a new folder, which then is the checkpoint."""
        ...

    def keep(self, numbers: Collection[int]) -> None:
        """Delete the checkpoints of all trials but `numbers`."""
        ...


class LocalRunner:
    """Runs trials in this process.

    Checkpoints go to `checkpoints`, else to `folder`, or without one to a temporary folder that is gone at the end.
    `device` is a torch device, or `auto`: the GPU if there is one. An attempt that takes longer than `timeout` seconds
    fails; batches of cheap estimates have no limit. `on_progress` is called with every trial that has ended. What an
    estimator raises is its trial's outcome; KeyboardInterrupt, SystemExit and failures of the record pass through, and
    leave the trial pending for the study that is opened on the ledger next.
    """

    def __init__(
        self,
        folder: Path | None = None,
        device: str = "auto",
        on_progress: Callable[[Trial], None] | None = None,
        timeout: float | None = None,
        checkpoints: CheckpointStore | None = None,
    ) -> None:
        self._folder = folder
        self._given = checkpoints
        self._timeout = timeout
        self._wanted_device = device
        self._on_progress = on_progress

    def run(self, study: Study, rungs: Sequence[Rung], budget: Budget) -> None:
        """Run trials until `budget` is spent or the study has no more.

        What earlier calls took counts (see `nas_core.budget.Meter`). The budget is looked at before trials are asked
        for, not while they run. As many trials are asked for at once as the largest batch of an estimator. InputError
        if no rung takes full fidelity.
        """
        ladder = _ladder(rungs)
        chunk = max((rung.estimator.batch for rung in ladder if isinstance(rung.estimator, BatchEstimator)), default=1)
        meter = Meter(study, budget)
        with self._checkpoints() as checkpoints:
            while room := meter.room(chunk):
                trials = study.ask(room)
                if not trials:
                    return
                for rung, group in _by_rung(ladder, trials):
                    self._run_group(study, rung.estimator, group, checkpoints)

    @cached_property
    def device(self) -> str:
        """The torch device of trials; torch is loaded only if a trial asks, and then only for `auto`."""
        if self._wanted_device != "auto":
            return self._wanted_device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @contextmanager
    def _checkpoints(self) -> Iterator[CheckpointStore]:
        if self._given is not None:
            yield self._given
        elif self._folder is not None:
            yield Checkpoints(self._folder)
        else:
            with TemporaryDirectory(prefix="evernas-") as folder:
                yield Checkpoints(Path(folder))

    def _run_group(
        self, study: Study, estimator: Estimator | BatchEstimator, trials: Sequence[Trial], checkpoints: CheckpointStore
    ) -> None:
        if isinstance(estimator, BatchEstimator):
            for start in range(0, len(trials), estimator.batch):
                chunk = trials[start : start + estimator.batch]
                began = time.perf_counter()
                outcomes = estimate_batch(estimator, chunk)
                self._tell(study, chunk, outcomes, (time.perf_counter() - began) / len(chunk))
            return
        for trial in trials:
            began = time.perf_counter()
            session = _LocalSession(self, study, trial, checkpoints)
            outcome = attempt(partial(within, self._timeout, partial(estimator.estimate, trial, session)))
            self._tell(study, [trial], [outcome], time.perf_counter() - began)

    def _tell(
        self, study: Study, trials: Sequence[Trial], outcomes: Sequence[Metrics | Failure], cost_seconds: float
    ) -> None:
        """Tell the `outcomes` of `trials`, each of which took `cost_seconds`."""
        study.tell_all([(trial.number, outcome, cost_seconds) for trial, outcome in zip(trials, outcomes, strict=True)])
        if self._on_progress:
            for trial in trials:
                self._on_progress(study.history[trial.number])


class _LocalSession:
    """See `nas_core.interfaces.Session`."""

    def __init__(self, runner: LocalRunner, study: Study, trial: Trial, checkpoints: CheckpointStore) -> None:
        self._runner = runner
        self._study = study
        self._number = trial.number
        self._checkpoints = checkpoints
        self._attempt = trial.attempt

    @property
    def device(self) -> str:
        return self._runner.device

    def report(self, step: int, metrics: Metrics, save: Callable[[Path], None] | None = None) -> bool:
        # First the record: killed in between, the trial goes on from the checkpoint before, and its steps are known.
        with held_off():  # cut in the midst of a commit, the study would not know what its ledger holds
            stop = self._study.report(self._number, step, metrics)
        if save:
            self._checkpoints.save(self._number, self._attempt, step, save)
        return stop

    def restore(self, number: int | None = None) -> Path | None:
        return self._checkpoints.newest(self._number if number is None else number)


def estimate_batch(estimator: BatchEstimator, trials: Sequence[Trial]) -> Sequence[Metrics | Failure]:
    """Return an outcome per trial; if the call fails for several, each is tried alone, so that one spoils no other."""

    def together() -> Sequence[Metrics | Failure]:
        outcomes = estimator.estimate_batch(trials)
        if len(outcomes) != len(trials):
            raise ValueError(f"estimate_batch gave {len(outcomes)} outcomes for {len(trials)} trials")
        return outcomes

    outcomes = attempt(together)
    if not isinstance(outcomes, Failure):
        return outcomes
    if len(trials) == 1:
        return [outcomes]
    return [outcome for trial in trials for outcome in estimate_batch(estimator, [trial])]


def _ladder(rungs: Sequence[Rung]) -> list[Rung]:
    ladder = sorted(rungs, key=lambda rung: rung.fidelity)
    if not ladder or ladder[-1].fidelity < 1:
        highest = ladder[-1].fidelity if ladder else "none"
        raise InputError(f"rungs: the last must take trials of fidelity 1, got {highest}; add an estimator for them")
    return ladder


def _by_rung(ladder: Sequence[Rung], trials: Sequence[Trial]) -> Iterator[tuple[Rung, list[Trial]]]:
    """Yield each rung that has trials, the lowest that takes them, with these trials in order."""
    below = 0.0
    for rung in ladder:
        if group := [trial for trial in trials if below < trial.fidelity <= rung.fidelity]:
            yield rung, group
        below = rung.fidelity
