"""What a Gaussian process learns from trials: results on a scale that tells the best ones apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas_core.strategies._gaussian_process import Array
from nas_core.types import Objective, Status, Trial

_OFFSET = 0.1
"""How finely the best are told apart: the first tenth of the median gap takes up as much as the next two do."""


class Scale:
    """The scale of one objective, made by the results so far: more is better, mean 0, variance 1 over `values`.

    t = -log(g / m + 0.1), where g is the gap of a value to the best and m the median gap: differences count by the
    order of magnitude of what is left to gain. Beyond the best, t goes on in a straight line.
    """

    def __init__(self, values: Array, objective: Objective) -> None:
        self._sign = 1.0 if objective.goal == "max" else -1.0
        self._best = float((self._sign * values).max()) if len(values) else 0.0
        gaps = self._best - self._sign * values
        self._unit = float(np.median(gaps) if len(values) else 0.0) or float(gaps.max(initial=0.0)) or 1.0
        self._center, self._spread = 0.0, 1.0
        if len(values):
            targets = self(values)
            self._center, self._spread = float(targets.mean()), float(targets.std()) or 1.0

    def __call__(self, values: Array) -> Array:
        """Return the targets of `values`, of any shape."""
        gap = (self._best - self._sign * values) / self._unit
        near = -np.log(np.maximum(gap, 0.0) + _OFFSET) - np.minimum(gap, 0.0) / _OFFSET
        return np.asarray((near - self._center) / self._spread)

    def value(self, target: float) -> float:
        """Return the value whose target is `target`."""
        near = self._center + self._spread * target
        beyond = near + np.log(_OFFSET)
        gap = -beyond * _OFFSET if beyond > 0 else np.exp(-near) - _OFFSET
        return float(self._sign * (self._best - self._unit * gap))


def finished(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials at full fidelity that have something to tell, in the order of their end.

    What was lost tells nothing of its architecture.
    """
    told = [t for t in trials if t.fidelity == 1.0 and t.status not in {Status.PENDING, Status.LOST}]
    return sorted(told, key=lambda t: (t.number if t.finished is None else t.finished, t.number))


def values(trials: Sequence[Trial], objective: Objective) -> Array:
    """Return a value for each of the `trials`, (N,).

    A pruned trial's last report is taken for its result, which it would hardly have made worse. An architecture that
    failed or cannot be is taken to be as bad as the worst. Where nothing was measured at all, all are 0.
    """
    found = [(trial.metrics or {}).get(objective.metric) for trial in trials]
    known = [value for value in found if value is not None]
    worst = (min if objective.goal == "max" else max)(known, default=0.0)
    return np.array([worst if value is None else value for value in found])
