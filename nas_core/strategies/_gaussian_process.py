"""A Gaussian process over rows of numbers whose columns share relevances; hyperparameters are the most probable ones.

The equations are those of Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning". All hyperparameters
are positive and kept as logarithms h: a relevance per nonlinear column or group of columns, one per linear column or
group, the variance of the nonlinear part, and the variance of the noise. Codes are scaled so that every relevance is
expected to be about 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

MOST = 300
"""No more data should be given than this: time grows with their third power."""

_ITERATIONS = 12
"""Steps of L-BFGS: the prior is where they start, and with few data it should be near where they end."""

_NOISE = 0.02
"""Median of the noise variance, of targets with variance 1: training again moves a result by a seventh of their sd."""

_BOUND = 4.0
"""How many standard deviations of its prior a hyperparameter may go: covariances stay well-conditioned within."""

_JITTER = 1e-8


@dataclass(frozen=True)
class Columns:
    """What the columns of codes (N, C + L) are: C nonlinear ones, then L linear ones.

    Each entry is the number of the column's relevance, counted from 0 in either part; equal numbers share one.
    """

    nonlinear: tuple[int, ...]
    linear: tuple[int, ...]

    @cached_property
    def counts(self) -> tuple[int, int]:
        """How many relevances there are, nonlinear and linear ones."""
        return max(self.nonlinear, default=-1) + 1, max(self.linear, default=-1) + 1

    def beside(self, other: Columns) -> Columns:
        """Return the columns that `join` makes of codes of both."""
        nonlinear, linear = self.counts
        return Columns(
            self.nonlinear + tuple(nonlinear + i for i in other.nonlinear),
            self.linear + tuple(linear + i for i in other.linear),
        )

    def join(self, codes: Array, others: Array, other: Columns) -> Array:
        """Return `codes` of these columns beside `others`, which are of `other`."""
        own, its = len(self.nonlinear), len(other.nonlinear)
        return np.hstack([codes[:, :own], others[:, :its], codes[:, own:], others[:, its:]])


class Kernel:
    """k(a, b) = s² exp(-Σ_c w_c (a_c - b_c)²) + Σ_l v_l a_l b_l for hyperparameters h = log(w, v, s², noise).

    Relevances have log-normal priors of median 1 and log-sd 1, as has the noise around its median; s² has log-sd 0.7.
    """

    def __init__(self, columns: Columns) -> None:
        nonlinear, linear = columns.counts
        self.columns = columns
        self.center = np.array([0.0] * (nonlinear + linear + 1) + [np.log(_NOISE)])
        self.spread = np.array([1.0] * (nonlinear + linear) + [0.7, 1.0])
        self._split = len(columns.nonlinear)
        self._of_column = np.array([*columns.nonlinear, *(nonlinear + i for i in columns.linear)], dtype=int)

    def scale(self, codes: Array, h: Array) -> tuple[Array, Array]:
        """Return the nonlinear and the linear part of `codes`, with relevances multiplied in."""
        scaled = codes * np.exp(0.5 * h)[self._of_column]
        return scaled[:, : self._split], scaled[:, self._split :]

    def parts(self, a: tuple[Array, Array], b: tuple[Array, Array], h: Array) -> tuple[Array, Array]:
        """Return the nonlinear and the linear covariances (N, M) of scaled codes."""
        squares = np.add.outer((a[0] ** 2).sum(axis=1), (b[0] ** 2).sum(axis=1))
        exponent = 2 * a[0] @ b[0].T
        exponent -= squares
        np.minimum(exponent, 0, out=exponent)
        exponent += h[-2]
        return np.exp(exponent, out=exponent), a[1] @ b[1].T

    def loss(self, h: Array, codes: Array, targets: Array) -> tuple[float, Array]:
        """Return the negative log of the posterior density of h, up to a constant, and its gradient."""
        scaled = self.scale(codes, h)
        nonlinear, linear = self.parts(scaled, scaled, h)
        factor = cholesky(_noisy(nonlinear + linear, h), lower=True, check_finite=False)
        inverse = cho_solve((factor, True), np.eye(len(targets)), check_finite=False)
        weights = inverse @ targets
        off = (h - self.center) / self.spread
        value = 0.5 * targets @ weights + np.log(factor.diagonal()).sum() + 0.5 * off @ off

        # Half of `by_covariance` is the derivative by each entry of the covariance matrix (equation 5.9).
        by_covariance = inverse - np.outer(weights, weights)
        by_nonlinear = by_covariance * nonlinear
        distances = by_nonlinear.sum(axis=1) @ scaled[0] ** 2 - (scaled[0] * (by_nonlinear @ scaled[0])).sum(axis=0)
        products = 0.5 * (scaled[1] * (by_covariance @ scaled[1])).sum(axis=0)
        gradient = off / self.spread
        gradient[:-2] += np.bincount(self._of_column, np.concatenate([-distances, products]), minlength=len(h) - 2)
        gradient[-2] += 0.5 * by_nonlinear.sum()
        gradient[-1] += 0.5 * np.exp(h[-1]) * by_covariance.trace()
        return float(value), gradient

    def fit(self, codes: Array, targets: Array) -> Array:
        """Return the most probable hyperparameters after `targets` (N,), by L-BFGS from the prior's medians."""
        found = minimize(
            self.loss,
            self.center,
            args=(codes, targets),
            method="L-BFGS-B",
            jac=True,
            bounds=np.stack([self.center - _BOUND * self.spread, self.center + _BOUND * self.spread], axis=1),
            options={"maxiter": _ITERATIONS},
        )
        return np.asarray(found.x)


class Posterior:
    """What a Gaussian process with hyperparameters h knows of `candidates` (M, C + L) after `targets` (N,) at `codes`.

    `mean` (M,) is of the latent function, without noise. Covariances are kept, so that a further datum is cheap.
    """

    def __init__(self, kernel: Kernel, h: Array, codes: Array, targets: Array, candidates: Array) -> None:
        self._kernel = kernel
        self._h = h
        self._targets = targets
        self._data = kernel.scale(codes, h)
        self._candidates = kernel.scale(candidates, h)
        self._cross = self._covariance(self._candidates, self._data)
        self._solve()

    def _covariance(self, a: tuple[Array, Array], b: tuple[Array, Array]) -> Array:
        nonlinear, linear = self._kernel.parts(a, b, self._h)
        nonlinear += linear
        return nonlinear

    def _solve(self) -> None:
        covariance = _noisy(self._covariance(self._data, self._data), self._h)
        self._factor = cholesky(covariance, lower=True, check_finite=False)
        self._weights: Array = cho_solve((self._factor, True), self._targets, check_finite=False)
        self.mean: Array = self._cross @ self._weights

    @property
    def mean_at_data(self) -> Array:
        """The mean at every datum, (N,): its target without the noise."""
        noise: float = np.exp(self._h[-1]) + _JITTER
        return self._targets - noise * self._weights

    def sd(self, rows: NDArray[np.intp]) -> Array:
        """Return the standard deviation of the latent function at the candidates `rows`, (len(rows),)."""
        explained = solve_triangular(self._factor, self._cross[rows].T, lower=True, check_finite=False)
        prior = np.exp(self._h[-2]) + (self._candidates[1][rows] ** 2).sum(axis=1)
        variance: Array = np.maximum(prior - (explained**2).sum(axis=0), _JITTER)
        return np.sqrt(variance)

    def add(self, row: int, target: float) -> None:
        """Take `target` for what was measured at the candidate `row`."""
        nonlinear, linear = (part[row : row + 1] for part in self._candidates)
        self._data = (np.vstack([self._data[0], nonlinear]), np.vstack([self._data[1], linear]))
        self._cross = np.hstack([self._cross, self._covariance(self._candidates, (nonlinear, linear))])
        self._targets = np.append(self._targets, target)
        self._solve()


def _noisy(covariance: Array, h: Array) -> Array:
    covariance[np.diag_indices_from(covariance)] += np.exp(h[-1]) + _JITTER
    return covariance
