"""The cheap lane: chunks of trials as Ray tasks, since a trial of Tune's takes longer than what they measure."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from components.backends.ray_cluster import one_line
from components.backends.ray_faults import Faults
from components.backends.ray_worker import evaluate_chunk, rung_of
from nas_core.budget import Meter
from nas_core.interfaces import BatchEstimator, Rung, Study
from nas_core.types import Trial

_OUTSIDE = (ray.exceptions.LocalRayletDiedError, ray.exceptions.AuthenticationError)
"""What ends the driver itself, not a task of it."""


@dataclass(frozen=True)
class _Chunk:
    rung: int
    trials: Sequence[Trial]
    began: float = 0.0


class BatchLane:
    """Runs chunks of cheap trials, `slots` at a time, and tells the study a whole chunk in one commit.

    `rungs` is Ray's reference to `ladder`, made once; `options` are those of the tasks. A trial of a chunk that was
    lost runs again on its own, so that one which kills its worker takes no others with it.
    """

    def __init__(
        self, study: Study, faults: Faults, ladder: Sequence[Rung], rungs: Any, slots: int, options: dict[str, Any]
    ) -> None:
        self._study, self._faults, self._ladder, self._rungs = study, faults, ladder, rungs
        self._slots = slots
        self._task = ray.remote(max_retries=0, **options)(evaluate_chunk)
        self._waiting: deque[_Chunk] = deque()
        self._flying: dict[Any, _Chunk] = {}
        self._suspects: set[int] = set()
        self.batch = max((r.estimator.batch for r in ladder if isinstance(r.estimator, BatchEstimator)), default=1)

    @property
    def free(self) -> bool:
        """Whether another chunk would run at once."""
        return len(self._flying) + len(self._waiting) < self._slots

    @property
    def count(self) -> int:
        """How many trials were taken and have not ended."""
        return sum(len(chunk.trials) for chunk in (*self._flying.values(), *self._waiting))

    @property
    def seconds(self) -> float:
        """How long the chunks that run have taken so far, all added up."""
        now = time.monotonic()
        return sum(now - chunk.began for chunk in self._flying.values())

    def takes(self, trial: Trial) -> bool:
        """Tell whether `trial` is cheap."""
        return isinstance(self._ladder[rung_of(self._ladder, trial)].estimator, BatchEstimator)

    def add(self, trials: Sequence[Trial]) -> None:
        """Take cheap trials, in order, in chunks as large as their estimators want."""
        groups: dict[int, list[Trial]] = {}
        for trial in trials:
            rung = rung_of(self._ladder, trial)
            if trial.number in self._suspects:
                self._waiting.append(_Chunk(rung, [trial]))
            else:
                groups.setdefault(rung, []).append(trial)
        for rung, group in groups.items():
            size = self._ladder[rung].estimator.batch  # type: ignore[union-attr]  # `takes` has seen to it
            self._waiting += (_Chunk(rung, group[at : at + size]) for at in range(0, len(group), size))
        self._submit()

    def poll(self, timeout: float = 0.0) -> None:
        """Tell what has come within `timeout` seconds; what the study raises passes through."""
        if not self._flying:
            return
        ready, _ = ray.wait(list(self._flying), num_returns=1, timeout=timeout)
        if ready:
            ready, _ = ray.wait(list(self._flying), num_returns=len(self._flying), timeout=0)
        for reference in ready:
            self._take(reference)
        self._submit()

    def close(self) -> None:
        """End the tasks that run; their trials stay pending in the record."""
        for reference in self._flying:
            ray.cancel(reference, force=True)
        self._flying.clear()
        self._waiting.clear()

    def _submit(self) -> None:
        while self._waiting and len(self._flying) < self._slots:
            chunk = self._waiting.popleft()
            reference = self._task.remote([self._rungs], chunk.rung, chunk.trials)
            self._flying[reference] = _Chunk(chunk.rung, chunk.trials, time.monotonic())

    def _take(self, reference: Any) -> None:
        chunk = self._flying.pop(reference)
        try:
            outcomes, seconds = ray.get(reference)
        except _OUTSIDE:
            raise
        except ray.exceptions.RayError as error:
            self._lose(chunk, one_line(error))
            return
        cost = seconds / len(chunk.trials)
        pairs = zip(chunk.trials, outcomes, strict=True)
        self._study.tell_all([(trial.number, outcome, cost) for trial, outcome in pairs])
        self._faults.ended(chunk.trials[-1].number)

    def _lose(self, chunk: _Chunk, told: str) -> None:
        cost = (time.monotonic() - chunk.began) / len(chunk.trials)
        for trial in chunk.trials:
            self._suspects.add(trial.number)
            self._faults.lost(trial.number, told, cost)


def run_batches(study: Study, lane: BatchLane, meter: Meter) -> None:
    """Run a study all of whose rungs are cheap until the budget is spent or nothing is left."""
    try:
        while True:
            while lane.free and (room := meter.room(lane.batch, lane.count, lane.seconds)):
                trials = study.ask(room)
                if not trials:
                    break
                lane.add(trials)
            if not lane.count:
                return
            lane.poll(timeout=1.0)
    finally:
        lane.close()
