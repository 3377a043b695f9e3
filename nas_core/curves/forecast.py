"""A forecast of one figure: a mixture of normal distributions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Normal distributions by their `weights` (which sum to 1), `means` and `sds`, each (components,)."""

    weights: Array
    means: Array
    sds: Array

    @property
    def mean(self) -> float:
        """The expected figure."""
        return float(self.weights @ self.means)

    @property
    def sd(self) -> float:
        """Its standard deviation."""
        return float(np.sqrt(self.weights @ (self.sds**2 + (self.means - self.mean) ** 2)))

    def above(self, figure: float) -> float:
        """Return the probability of more than `figure`."""
        return min(1.0, float(self.weights @ ndtr((self.means - figure) / self.sds)))  # rounded, it may be more

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Return `n` draws."""
        chosen = rng.choice(len(self.weights), n, p=self.weights)
        return self.means[chosen] + self.sds[chosen] * rng.standard_normal(n)

    def corrected(self, shift: float, stretch: float) -> Forecast:
        """Return the forecast with its mean moved by `shift`, and its spread around it times `stretch`."""
        mean = self.mean
        return Forecast(self.weights, mean + shift + stretch * (self.means - mean), self.sds * stretch)
