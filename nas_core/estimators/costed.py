"""An estimator that tells what its trials' architectures cost, too."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.failures import attempt, finite
from nas_core.interfaces import BatchEstimator, Cost, Estimator, SearchSpace, Session, Trainer
from nas_core.types import Architecture, Failure, Metrics, Trial

if TYPE_CHECKING:
    from torch import nn


def costed(
    space: SearchSpace, estimator: Estimator | BatchEstimator, costs: Sequence[Cost], folder: Path | None = None
) -> Estimator | BatchEstimator:
    """Return `estimator` with the metrics of `costs` in all that it reports and returns; itself if there are none.

    It stays a `Trainer`, a `BatchEstimator` or plain. Costs are measured before the training, because what cannot be
    measured need not be trained; and once per canonical architecture: a process remembers them, and so do all that see
    `folder`, if there is one. InputError if two costs give one metric.
    """
    if not costs:
        return estimator
    bill = Bill(space, costs, folder)
    if isinstance(estimator, BatchEstimator):
        return CostedBatch(estimator, bill)
    return CostedTrainer(estimator, bill) if isinstance(estimator, Trainer) else Costed(estimator, bill)


class Bill:
    """All costs of architectures, each measured once; see `costed`."""

    def __init__(self, space: SearchSpace, costs: Sequence[Cost], folder: Path | None = None) -> None:
        names = [name for cost in costs for name in cost.metrics]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"costs: {', '.join(repeated)} is measured twice; remove one of its kinds, or rename it")
        self._space, self._costs, self._folder = space, costs, folder
        self._known: dict[Architecture, dict[str, float]] = {}

    def of(self, architecture: Architecture) -> dict[str, float]:
        """Return the metrics of all costs; raise what their `measure` raises, FloatingPointError if not finite."""
        canonical = algebra.canonical(self._space, architecture)
        if canonical not in self._known:
            kept = self._folder and self._folder / f"{algebra.canonical_id(self._space, canonical)}.json"
            self._known[canonical] = _read(kept) or self._measured(canonical, kept)
        return self._known[canonical]

    def _measured(self, canonical: Architecture, kept: Path | None) -> dict[str, float]:
        found = finite({name: figure for cost in self._costs for name, figure in cost.measure(canonical).items()})
        if kept:
            _write(kept, found)
        return found


class Costed:
    """See `costed`."""

    def __init__(self, estimator: Estimator, bill: Bill) -> None:
        self._estimator, self._bill = estimator, bill

    def estimate(self, trial: Trial, session: Session) -> Metrics:
        """Measure the costs, then estimate; what both give is the estimator's."""
        costs = self._bill.of(trial.architecture)
        return {**costs, **self._estimator.estimate(trial, _Telling(session, costs))}


class CostedTrainer(Costed):
    """See `costed`; of a `Trainer`."""

    def __init__(self, estimator: Trainer, bill: Bill) -> None:
        super().__init__(estimator, bill)
        self._trainer = estimator

    def train(
        self, architecture: Architecture, device: str = "cpu", on_epoch: Callable[[int, Metrics], None] | None = None
    ) -> tuple[nn.Module, Metrics]:
        """Measure the costs, then train."""
        costs = self._bill.of(architecture)
        module, metrics = self._trainer.train(architecture, device, on_epoch)
        return module, {**costs, **metrics}


class CostedBatch:
    """See `costed`; of a `BatchEstimator`."""

    def __init__(self, estimator: BatchEstimator, bill: Bill) -> None:
        self._estimator, self._bill = estimator, bill

    @property
    def batch(self) -> int:
        """The most trials that one call should get."""
        return self._estimator.batch

    def estimate_batch(self, trials: Sequence[Trial]) -> Sequence[Metrics | Failure]:
        """Measure the costs of all, then estimate those that could be measured."""
        costs = [attempt(partial(self._bill.of, trial.architecture)) for trial in trials]
        measured = [trial for trial, cost in zip(trials, costs, strict=True) if not isinstance(cost, Failure)]
        outcomes = iter(self._estimator.estimate_batch(measured) if measured else ())
        return [cost if isinstance(cost, Failure) else _joined(cost, next(outcomes)) for cost in costs]


def _joined(costs: Metrics, outcome: Metrics | Failure) -> Metrics | Failure:
    return outcome if isinstance(outcome, Failure) else {**costs, **outcome}


class _Telling:
    """A session whose reports hold the costs, so that whoever judges a trial half-way has all objectives."""

    def __init__(self, session: Session, costs: Metrics) -> None:
        self._session, self._costs = session, costs

    @property
    def device(self) -> str:
        return self._session.device

    def report(self, step: int, metrics: Metrics, save: Callable[[Path], None] | None = None) -> bool:
        return self._session.report(step, {**self._costs, **metrics}, save)

    def restore(self, number: int | None = None) -> Path | None:
        return self._session.restore(number)


def _read(kept: Path | None) -> dict[str, float] | None:
    try:
        return dict(json.loads(kept.read_text(encoding="utf-8"))) if kept else None
    except OSError:
        return None


def _write(kept: Path, found: Metrics) -> None:
    """Keep `found` as a whole file or none; a machine that cannot see the folder measures for itself."""
    temporary = kept.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(found), encoding="utf-8")
        temporary.replace(kept)
