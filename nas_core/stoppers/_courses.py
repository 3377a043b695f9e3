"""What stoppers share: trials as courses of one metric, and which of them may be held against one another."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from nas_core.types import Metrics, Objective, Status, Trial

Curve = tuple[tuple[int, Metrics], ...]


@dataclass(frozen=True, slots=True)
class Course:
    """What a curve says of one metric: rising steps, and the loss at each (the metric; its negative if more is better).

    `means` holds the running averages of the losses. Reports without the metric are left out.
    """

    curve: Curve
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    means: tuple[float, ...]


class Courses:
    """The courses of a history's trials in the metric of `objective`."""

    def __init__(self, objective: Objective) -> None:
        self._metric = objective.metric
        self._sign = 1.0 if objective.goal == "min" else -1.0
        self._known: dict[int, Course] = {}

    def of(self, trial: Trial) -> Course:
        """Return the course of `trial`; made once per curve, because to make thousands takes many milliseconds."""
        known = self._known.get(trial.number)
        if known is None or known.curve is not trial.curve:
            points = [(step, metrics[self._metric]) for step, metrics in trial.curve if self._metric in metrics]
            losses = tuple(self._sign * figure for _, figure in points)
            # No average is below the least: rounded, that of equal losses might be.
            sums, least = accumulate(losses), accumulate(losses, min)
            means = tuple(max(total / n, low) for n, (total, low) in enumerate(zip(sums, least, strict=True), 1))
            known = Course(trial.curve, tuple(step for step, _ in points), losses, means)
            self._known[trial.number] = known
        return known

    def judged(self, trial: Trial, history: Sequence[Trial]) -> Course | None:
        """Return the course of `trial` if its newest report may stop it, else None.

        It may not if it lacks the metric, nor among the steps that a promoted trial's parent has come through.
        """
        course = self.of(trial)
        if not course.steps or course.steps[-1] != trial.curve[-1][0]:
            return None
        return None if course.steps[-1] <= _inherited(trial, history) else course

    def rivals(self, trial: Trial, history: Sequence[Trial]) -> list[Course]:
        """Return the courses that compare with that of `trial`: of this study's other trials of the same fidelity.

        Whatever became of them. Trials of an earlier cycle have met other data, and another fidelity may mean another
        course from the first step on. There are none once `trial` has come to the step where the longest ok trial
        ended: the training is over there, and to stop it would spare nothing and make a full result a pruned one.
        """
        found, end = [], 0
        for other in history:
            if other.curve and not other.origin and other.fidelity == trial.fidelity and other.number != trial.number:
                found.append(self.of(other))
                if other.status is Status.OK:
                    end = max(end, other.curve[-1][0])
        return [] if 0 < end <= trial.curve[-1][0] else found


def completed(trial: Trial, history: Sequence[Trial]) -> list[Trial]:
    """Return the ok trials that compare with `trial`: others of this study and of the same fidelity, with a curve."""
    return [
        other
        for other in history
        if other.status is Status.OK
        and other.curve
        and not other.origin
        and other.fidelity == trial.fidelity
        and other.number != trial.number
    ]


def looks(steps: Sequence[int], grace: int, interval: int) -> bool:
    """Tell whether the newest of `steps` is the first at or beyond one of grace, grace + interval ..."""
    now = (steps[-1] - grace) // interval
    return now >= 0 and (len(steps) == 1 or now > (steps[-2] - grace) // interval)


def first_at(course: Course, step: int) -> int | None:
    """Return the index of the first report at or beyond `step`; None if there is none yet."""
    index = bisect_left(course.steps, step)
    return index if index < len(course.steps) else None


def _inherited(trial: Trial, history: Sequence[Trial]) -> int:
    """Return the last step of the trial that `trial` goes on with; 0 if it begins anew."""
    for number in trial.parents[:1]:
        parent = history[number]
        if parent.curve and parent.architecture == trial.architecture and parent.fidelity < trial.fidelity:
            return parent.curve[-1][0]
    return 0
