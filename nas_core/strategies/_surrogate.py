"""What a search believes of its candidates: a Gaussian process per objective, and how much each candidate is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas_core.strategies import _acquisition as acquisition
from nas_core.strategies._gaussian_process import Array, Posterior
from nas_core.strategies._targets import Scale
from nas_core.types import Objective

_EXACT = 1_500
"""How many candidates get an exact standard deviation: those that would be the best if all were as uncertain."""


class Surrogate:
    """K posteriors over the same candidates, which are changed by believing what they say of a candidate."""

    def __init__(
        self,
        objectives: Sequence[Objective],
        scales: Sequence[Scale],
        posteriors: Sequence[Posterior],
        weights: Array,
        beta: float,
    ) -> None:
        self._objectives = objectives
        self._scales = scales
        self._posteriors = posteriors
        self._weights = weights
        self._beta = beta
        self._limits = np.array(
            [
                -np.inf if o.limit is None else float(s(np.array(o.limit)))
                for o, s in zip(objectives, scales, strict=True)
            ]
        )

    def choose(self, left: NDArray[np.intp]) -> tuple[int, list[tuple[str, float | str]]]:
        """Return the row among `left` that is worth most, and why."""
        mean = np.column_stack([posterior.mean[left] for posterior in self._posteriors])
        if len(left) > _EXACT:
            first = np.argpartition(-self._worth(mean, np.ones_like(mean)), _EXACT)[:_EXACT]
            left, mean = left[first], mean[first]
        sd = np.column_stack([posterior.sd(left) for posterior in self._posteriors])
        worth = self._worth(mean, sd)
        at = int(np.argmax(worth))
        why: list[tuple[str, float | str]] = [("acquisition", float(worth[at]))]
        for k, (objective, scale) in enumerate(zip(self._objectives, self._scales, strict=True)):
            why += [
                (f"{objective.metric}.predicted", scale.value(mean[at, k])),
                (f"{objective.metric}.mean", float(mean[at, k])),
                (f"{objective.metric}.sd", float(sd[at, k])),
            ]
        return int(left[at]), why

    def believe(self, row: int) -> None:
        """Take for true what is expected of the candidate `row` (Ginsbourger et al. 2010, the Kriging believer)."""
        for posterior in self._posteriors:
            posterior.add(row, float(posterior.mean[row]))

    def _worth(self, mean: Array, sd: Array) -> Array:
        if mean.shape[1] == 1:
            return acquisition.upper_confidence_bound(mean, sd, self._beta)[:, 0]
        at_data = np.column_stack([posterior.mean_at_data for posterior in self._posteriors])
        feasible = (at_data >= self._limits).all(axis=1)
        log_chance = acquisition.log_feasibility(mean, sd, self._limits)
        if not feasible.any():
            return log_chance
        chance = np.exp(log_chance)
        front = at_data[feasible]
        reference = front.min(axis=0) - 0.1 * np.ptp(front, axis=0)
        if mean.shape[1] == 2:
            return chance * acquisition.expected_hypervolume_improvement(mean, sd, front, reference)
        bounds = acquisition.upper_confidence_bound(mean, sd, self._beta)
        return chance * acquisition.scalarised(bounds, self._weights, reference)
