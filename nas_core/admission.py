"""Trials that would not fit into memory are told so before they get a place, rather than die in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nas_core.budget import Meter
from nas_core.failures import failure
from nas_core.interfaces import Study
from nas_core.types import Architecture, Budget, Failure, Metrics, Spent, Status, Trial

Foresee = Callable[[Architecture], float]
"""Returns the memory, in MB of 10^6 bytes, that a trial of an architecture will take."""


class Admission:
    """A study that gives out only what fits into `limit_mb`; whoever runs it need not know.

    See `nas_core.interfaces.Study`. A trial whose estimate is above the limit ends `infeasible` with the reason
    `oom: ...` and costs nothing; it counts as a trial of `budget`. What `foresee` cannot tell, because building the
    network fails, is given out: whatever is wrong with it shows where it runs.
    """

    def __init__(self, study: Study, budget: Budget, foresee: Foresee, limit_mb: float) -> None:
        self._study, self._foresee, self._limit = study, foresee, limit_mb
        self._meter = Meter(study, budget)
        self._known: dict[Architecture, float | None] = {}

    @property
    def history(self) -> Sequence[Trial]:
        """See `Study`."""
        return self._study.history

    @property
    def exhausted(self) -> bool:
        """See `Study`."""
        return self._study.exhausted

    @property
    def spent(self) -> Spent:
        """See `Study`."""
        return self._study.spent

    def ask(self, n: int) -> Sequence[Trial]:
        """Return up to `n` trials that fit; those that do not are ended, and others asked for in their place."""
        admitted: list[Trial] = []
        wanted = n
        while wanted > 0:
            asked = self._study.ask(wanted)
            fitting = [trial for trial in asked if self._fits(trial)]
            admitted += fitting
            if len(fitting) == len(asked):
                break
            wanted = self._meter.room(n - len(admitted), self._study.spent.pending)
        return admitted

    def report(self, number: int, step: int, metrics: Metrics) -> bool:
        """See `Study`."""
        return self._study.report(number, step, metrics)

    def tell(self, number: int, outcome: Metrics | Failure, cost_seconds: float) -> None:
        """See `Study`."""
        self._study.tell(number, outcome, cost_seconds)

    def tell_all(self, outcomes: Sequence[tuple[int, Metrics | Failure, float]]) -> None:
        """See `Study`."""
        self._study.tell_all(outcomes)

    def retry(self, number: int, fault: Failure, cost_seconds: float, most: int) -> bool:
        """See `Study`."""
        return self._study.retry(number, fault, cost_seconds, most)

    def _fits(self, trial: Trial) -> bool:
        """Tell whether `trial` fits, and end it if it does not."""
        needed = self._needed(trial.architecture)
        if needed is None or needed <= self._limit:
            return True
        detail = f"needs about {needed:.0f} MB of memory, and its place has {self._limit:.0f} MB; it was not started"
        self._study.tell(trial.number, failure(Status.INFEASIBLE, "oom", detail), 0.0)
        return False

    def _needed(self, architecture: Architecture) -> float | None:
        if architecture not in self._known:
            try:
                self._known[architecture] = self._foresee(architecture)
            except Exception:  # noqa: BLE001  whatever a space's or a task's code may raise
                self._known[architecture] = None
        return self._known[architecture]
