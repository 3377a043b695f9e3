"""How far apart the rates of several groups are, with intervals that allow for having looked at every two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil

import numpy as np

_TAIL, _MOST = 10, 100_000
"""Resamples that should lie beyond a quantile, or it is a matter of luck; and the most that are drawn for that."""


@dataclass(frozen=True)
class Rate:
    """A share per group: `successes` out of `trials`, both int64 (groups,); no trials are zero."""

    name: str
    successes: np.ndarray
    trials: np.ndarray


@dataclass(frozen=True)
class Pair:
    """Two groups by index, compared by one rate: the observed difference, and the bounds of the true one."""

    rate: str
    groups: tuple[int, int]
    difference: float
    lower: float
    upper: float


def compare(
    rates: Sequence[Rate], alpha_lower: float, alpha_upper: float, resamples: int, rng: np.random.Generator
) -> list[Pair]:
    """Return the absolute differences of every two groups by every rate, with bounds in [0, 1].

    With probability 1 - `alpha_lower` at least *all* lower bounds hold together, so the largest of them bounds the
    largest true difference from below however many groups there are: their common width in standard errors is a
    quantile of the largest standardised error among all pairs and rates (max-t: Hothorn, Bretz and Westfall 2008).
    Each upper bound holds alone with 1 - `alpha_upper`, by the percentiles of its own pair. That is enough to say
    that all true differences are below a limit (intersection-union test: Berger 1982).

    Errors come from the bootstrap that draws the trials of each group and rate anew. Rows of equal outcome are
    exchangeable, so the draw is a binomial one. One success and one failure are added to each group first (Agresti
    and Caffo 2000), since a group that shows no failure is not certain to have none. At least `resamples` are drawn,
    and more (up to 100,000) where a quantile would otherwise rest on less than ten of them.
    """
    drawn = max(resamples, min(_MOST, ceil(_TAIL / min(alpha_lower, alpha_upper))))
    largest = np.zeros(drawn)
    found: list[tuple[str, tuple[int, int], float, float, float, float]] = []
    for rate in rates:
        shown = rate.successes / rate.trials
        share = (rate.successes + 1) / (rate.trials + 2)
        error = rng.binomial(rate.trials, share, (drawn, len(share))) / rate.trials - share
        variance = share * (1 - share) / rate.trials
        for a, b in combinations(range(len(share)), 2):
            between, spread = error[:, a] - error[:, b], float(np.sqrt(variance[a] + variance[b]))
            np.maximum(largest, np.abs(between) / spread, out=largest)
            centre = float(share[a] - share[b])
            low, high = centre + np.quantile(between, [alpha_upper, 1 - alpha_upper])
            observed = abs(float(shown[a] - shown[b]))
            found.append((rate.name, (a, b), observed, abs(centre), spread, float(max(-low, high))))
    width = float(np.quantile(largest, 1 - alpha_lower, method="higher")) if found else 0.0
    return [
        Pair(name, groups, observed, max(0.0, centre - width * spread), min(1.0, upper))
        for name, groups, observed, centre, spread, upper in found
    ]
