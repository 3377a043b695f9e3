"""A study of trials that were done before: it hands them out once more and keeps what comes of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from nas_core.failures import classify, failure, finite
from nas_core.history import with_report
from nas_core.types import Failure, Metrics, Spent, Status, Trial


class Repetition:
    """See `nas_core.interfaces.Study`; it has no strategy, no stopper and no record.

    An outcome without all of `metrics`, or with one that is not finite, is a failure, as it was the first time.
    `trials` are given out one after another, each as it was before it began. `stops` are the steps at which the
    stopper ended some of them, by their numbers; they end there again. `history` is by number, so it has no order.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        metrics: Sequence[str],
        stops: Mapping[int, int],
        on_report: Callable[[int, int, Metrics], None],
    ) -> None:
        size = 1 + max(trial.number for trial in trials)
        fresh = [
            Trial(number=t.number, architecture=t.architecture, fidelity=t.fidelity, parents=t.parents) for t in trials
        ]
        self.history: list[Trial] = [Trial(number=number, architecture=()) for number in range(size)]
        for trial in fresh:
            self.history[trial.number] = trial
        self._waiting = deque(fresh)
        self._metrics, self._stops, self._on_report = metrics, stops, on_report
        self._stopped: set[int] = set()

    @property
    def exhausted(self) -> bool:
        """Whether all have been given out."""
        return not self._waiting

    @property
    def spent(self) -> Spent:
        """Nothing: no budget is kept here."""
        return Spent()

    def ask(self, n: int) -> Sequence[Trial]:
        """Return the next trial, alone: the one after it may need its weights."""
        return [self._waiting.popleft()] if n and self._waiting else []

    def report(self, number: int, step: int, metrics: Metrics) -> bool:
        """Keep the report, and tell whether the trial was ended by it the first time."""
        self.history[number] = with_report(self.history[number], step, finite(metrics))
        self._on_report(number, step, metrics)
        if step == self._stops.get(number):
            self._stopped.add(number)
        return number in self._stopped

    def tell(self, number: int, outcome: Metrics | Failure, cost_seconds: float) -> None:
        """End trial `number`; see `tell_all`."""
        self.tell_all([(number, outcome, cost_seconds)])

    def tell_all(self, outcomes: Sequence[tuple[int, Metrics | Failure, float]]) -> None:
        """Keep how trials ended; one that was stopped has its last report as metrics."""
        for number, outcome, cost in outcomes:
            trial = replace(self.history[number], cost_seconds=cost)
            if number in self._stopped:
                ended = replace(trial, status=Status.PRUNED, metrics=trial.curve[-1][1])
            else:
                ended = self._ended(trial, outcome)
            self.history[number] = ended

    def _ended(self, trial: Trial, outcome: Metrics | Failure) -> Trial:
        if not isinstance(outcome, Failure):
            try:
                metrics = finite(outcome)
            except FloatingPointError as error:
                outcome = classify(error)
            except TypeError as error:
                outcome = failure(Status.FAILED, "metrics", str(error))
            else:
                if not (missing := [name for name in self._metrics if name not in metrics]):
                    return replace(trial, status=Status.OK, metrics=metrics)
                outcome = failure(Status.FAILED, "metrics", f"{', '.join(missing)} missing")
        return replace(trial, status=outcome.status, error=outcome.reason)

    def retry(self, number: int, fault: Failure, cost_seconds: float, most: int) -> bool:  # noqa: ARG002
        """End the trial with the fault: there are no machines here that could die."""
        self.tell(number, fault, cost_seconds)
        return False
