"""The stopper that looks ahead along the learning curve (Domhan et al. 2015)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nas_core.curves import Forecast, extrapolate
from nas_core.errors import InputError
from nas_core.objectives import pareto_front, undominated
from nas_core.stoppers._courses import Course, Courses, completed, looks
from nas_core.types import Objective, Trial

_DRAWS = 200
"""Of the figures at the end, where several objectives are open."""

_DOUBT = 2
"""How many ended trials the assumption counts for that forecasts are right as they are."""


class Curve:
    """Extrapolates learning curves: a trial stops when it will hardly beat the best, or enter the front (Domhan 2015).

    The figures that the trial would end with are forecast from its reports so far by `nas_core.curves`, noise
    included. It stops when the probability that no ended trial dominates them, limits included, falls below
    `threshold`; of one objective that is the probability of beating the best. An objective that has not changed so far,
    such as the number of parameters, is taken as it is; the others are forecast each on its own, as if independent. So
    a trial that breaks a limit by such an objective stops as soon as it is looked at, if another keeps all limits.

    Real curves do not know the families: a learning rate that falls makes them end higher than they began to promise.
    So forecasts are corrected by how those for the ended trials, had they been made at this step, would have turned
    out: by the mean and the spread of their errors, in standard deviations of the forecast.

    The first look is at the first report at or beyond `grace_steps`, then every `interval` steps, once `min_trials`
    trials have ended. It looks at trials of this study and of the same fidelity; a training ends where the longest of
    them did. Reports without one of the metrics stop nothing. InputError for an option out of range.
    """

    cost: ClassVar[str] = "a fit of 12 families a report and open objective: milliseconds"
    reference: ClassVar[str] = "Domhan et al. 2015"

    def __init__(
        self,
        objectives: Sequence[Objective],
        *,
        threshold: float = 0.05,
        grace_steps: int = 3,
        interval: int = 1,
        min_trials: int = 1,
    ) -> None:
        if not 0 < threshold < 1:
            raise InputError(f"threshold: must be > 0 and < 1, got {threshold}")
        for name, value in (("grace_steps", grace_steps), ("interval", interval), ("min_trials", min_trials)):
            if value < 1:
                raise InputError(f"{name}: must be >= 1, got {value}")
        self._objectives = tuple(objectives)
        self._courses = [Courses(objective) for objective in objectives]
        self._threshold = threshold
        self._grace = grace_steps
        self._interval = interval
        self._min_trials = min_trials
        self._errors: dict[tuple[int, int, int], tuple[Course, int, float]] = {}

    def stop(self, history: Sequence[Trial], number: int) -> bool:
        """Tell whether trial `number` shall stop after its newest report; pure in the history."""
        trial = history[number]
        courses = [each.judged(trial, history) for each in self._courses]
        known = [course for course in courses if course is not None]
        ended = [t for t in completed(trial, history) if all(o.metric in (t.metrics or {}) for o in self._objectives)]
        if len(known) < len(courses) or len(ended) < self._min_trials:
            return False
        steps, last = known[0].steps, max(other.curve[-1][0] for other in ended)
        if steps[-1] >= last or not looks(steps, self._grace, self._interval):
            return False
        return self.chance(trial, ended, steps[-1], last) < self._threshold

    def chance(self, trial: Trial, ended: Sequence[Trial], step: int, last: int) -> float:
        """Return the probability that `trial`, known up to `step`, is not dominated at `last` by any of `ended`."""
        front = pareto_front(ended, self._objectives)
        rng = np.random.default_rng((trial.number, step))
        draws: dict[str, Sequence[float]] = {}
        for index, objective in enumerate(self._objectives):
            course = self._courses[index].of(trial)
            sign = 1.0 if objective.goal == "max" else -1.0
            if len(set(course.losses)) == 1 and len(self._objectives) > 1:
                draws[objective.metric] = [-sign * course.losses[-1]] * _DRAWS
                continue
            forecast = self.forecast(trial, ended, step, last, index)
            if len(self._objectives) == 1:
                return forecast.above(sign * (front[0].metrics or {})[objective.metric])
            draws[objective.metric] = (sign * forecast.sample(rng, _DRAWS)).tolist()
        futures = [dict(zip(draws, values, strict=True)) for values in zip(*draws.values(), strict=True)]
        return sum(undominated(futures, [other.metrics or {} for other in front], self._objectives)) / _DRAWS

    def forecast(self, trial: Trial, ended: Sequence[Trial], step: int, last: int, index: int = 0) -> Forecast:
        """Return the forecast of `trial` at `last` from its reports up to `step`, corrected by those of `ended`.

        It is of objective `index`, as a gain: the metric, its negative if less is better.
        """
        forecast = _forecast(self._courses[index].of(trial), step, last)
        found = [self._error(index, other, step, last) for other in ended]
        errors = [error for error in found if error is not None]
        n = len(errors) + _DOUBT
        shift = sum(errors) / n
        spread = (sum((error - shift) ** 2 for error in errors) + _DOUBT) / n
        return forecast.corrected(shift * forecast.sd, math.sqrt(spread))

    def _error(self, index: int, trial: Trial, step: int, last: int) -> float | None:
        """Return how far the forecast for ended `trial` would have been off, in its own standard deviations.

        None if there was nothing to forecast. Worked out once, for it takes as long as a forecast.
        """
        course = self._courses[index].of(trial)
        if not course.steps or not course.steps[0] <= step < course.steps[-1]:
            return None
        key = (index, trial.number, step)
        known = self._errors.get(key)
        if known is None or known[0] is not course or known[1] != last:
            forecast = _forecast(course, step, last)
            known = self._errors[key] = (course, last, (-course.losses[-1] - forecast.mean) / forecast.sd)
        return known[2]


def _forecast(course: Course, step: int, last: int) -> Forecast:
    """Return the forecast of the gain at `last` from the reports up to `step`."""
    seen = bisect_right(course.steps, step)
    return extrapolate(course.steps[:seen], [-loss for loss in course.losses[:seen]], last)
