"""Asynchronous successive halving that stops, not promotes (Li et al. 2020, "A System for Massively Parallel ...")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from nas_core.errors import InputError
from nas_core.stoppers._courses import Courses, first_at
from nas_core.types import Objective, Trial


class ASHA:
    """Asynchronous successive halving: at each rung only the best go on, the rest stop (Li et al. 2020).

    Rungs are the steps `grace_steps`, `grace_steps` * `reduction`, `grace_steps` * `reduction`² ... The first report at
    or beyond a rung, and before the next, is a trial's value there. The trial stops if that is worse than the best
    1/`reduction` of what others have there by then, a quantile that lies between two values if need be. This is the
    variant of Ray Tune's ASHAScheduler: nothing waits, so early trials have it easier than late ones.

    It looks at the first objective alone, at trials of this study and of the same fidelity, whatever became of them.
    Reports without that metric stop nothing, nor does one at the end of a training (see
    `nas_core.stoppers._courses.Courses.rivals`). InputError for an option out of range.
    """

    cost: ClassVar[str] = "a quantile over the others: less than a millisecond"
    reference: ClassVar[str] = "Li et al. 2020"

    def __init__(self, objectives: Sequence[Objective], *, grace_steps: int = 1, reduction: int = 3) -> None:
        if grace_steps < 1:
            raise InputError(f"grace_steps: must be >= 1, got {grace_steps}")
        if reduction < 2:
            raise InputError(f"reduction: must be >= 2, got {reduction}")
        self._courses = Courses(objectives[0])
        self._grace = grace_steps
        self._reduction = reduction

    def stop(self, history: Sequence[Trial], number: int) -> bool:
        """Tell whether trial `number` shall stop after its newest report; pure in the history."""
        trial = history[number]
        course = self._courses.judged(trial, history)
        if course is None or course.steps[-1] < self._grace:
            return False
        rung = self._grace
        while rung * self._reduction <= course.steps[-1]:
            rung *= self._reduction
        if first_at(course, rung) != len(course.steps) - 1:
            return False  # it has passed this rung already
        values = []
        for other in self._courses.rivals(trial, history):
            index = first_at(other, rung)
            if index is not None and other.steps[index] < rung * self._reduction:
                values.append(other.losses[index])
        return bool(values) and course.losses[-1] > self._bar(sorted(values))

    def _bar(self, losses: Sequence[float]) -> float:
        """Return the quantile 1/`reduction` of rising `losses`, in whole numbers as far as they go: ties are exact."""
        below, rest = divmod(len(losses) - 1, self._reduction)
        if not rest:
            return losses[below]
        return losses[below] + (losses[below + 1] - losses[below]) * rest / self._reduction
