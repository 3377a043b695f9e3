"""The median stopping rule (Golovin et al. 2017, "Google Vizier: A Service for Black-Box Optimization")."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from statistics import median
from typing import ClassVar

from nas_core.errors import InputError
from nas_core.stoppers._courses import Courses, looks
from nas_core.types import Objective, Trial


class Median:
    """The median stopping rule: a trial stops when its best is worse than what half of the others were on average.

    At step s its best value so far is held against the median of the others' running averages up to s (Golovin et al.
    2017). The others are those that have come as far as s, ended or running, at least `min_trials` of them: a shorter
    course is an average over less. It is first looked at by the first report at or beyond `grace_steps`, then every
    `interval` steps.

    It looks at the first objective alone, at trials of this study and of the same fidelity. Reports without that metric
    stop nothing, nor does one at the end of a training (see `nas_core.stoppers._courses.Courses.rivals`). InputError
    for an option out of range.
    """

    cost: ClassVar[str] = "a median over the others: less than a millisecond"
    reference: ClassVar[str] = "Golovin et al. 2017"

    def __init__(
        self, objectives: Sequence[Objective], *, grace_steps: int = 1, min_trials: int = 3, interval: int = 1
    ) -> None:
        for name, value in (("grace_steps", grace_steps), ("min_trials", min_trials), ("interval", interval)):
            if value < 1:
                raise InputError(f"{name}: must be >= 1, got {value}")
        self._courses = Courses(objectives[0])
        self._grace = grace_steps
        self._min_trials = min_trials
        self._interval = interval

    def stop(self, history: Sequence[Trial], number: int) -> bool:
        """Tell whether trial `number` shall stop after its newest report; pure in the history."""
        trial = history[number]
        course = self._courses.judged(trial, history)
        if course is None or not looks(course.steps, self._grace, self._interval):
            return False
        step = course.steps[-1]
        means = [
            other.means[bisect_right(other.steps, step) - 1]
            for other in self._courses.rivals(trial, history)
            if other.steps and other.steps[0] <= step <= other.steps[-1]
        ]
        return len(means) >= self._min_trials and min(course.losses) > median(means)
