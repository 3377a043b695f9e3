"""How much an architecture is worth trying, from what Gaussian processes say of it.

Means and standard deviations are (M, K): M candidates, K objectives, all turned so that more is better.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr

from nas_core.strategies._gaussian_process import Array


def upper_confidence_bound(mean: Array, sd: Array, beta: float) -> Array:
    """Return mean + beta sd, whatever the shape (Srinivas et al. 2010, equation 6)."""
    return mean + beta * sd


def log_feasibility(mean: Array, sd: Array, limits: Array) -> Array:
    """Return the log of the chance that all K values are at least `limits` (K,), -inf where there is none: (M,)."""
    return np.asarray(log_ndtr((mean - limits) / sd).sum(axis=1))


def scalarised(bounds: Array, weights: Array, reference: Array) -> Array:
    """Return the least of the K weighted gains of `bounds` (M, K) over `reference` (K,): shape (M,).

    Chebyshev's scalarisation of confidence bounds (Paria et al. 2019, "A Flexible Framework for Multi-Objective
    Bayesian Optimization using Random Scalarizations"): weights that are drawn anew lead along the whole front.
    """
    return np.asarray((weights * np.maximum(bounds - reference, 0)).min(axis=1))


def expected_hypervolume_improvement(mean: Array, sd: Array, front: Array, reference: Array) -> Array:
    """Return the exact expected gain in hypervolume for two independent normal objectives, shape (M,).

    `front` (F, 2) may hold dominated points; `reference` (2,) bounds the volume from below. Between neighbours on the
    front the gain is a product of one-sided parts, whose expectations multiply (Emmerich et al. 2011, "Hypervolume-
    based expected improvement: monotonicity properties and exact computation").
    """
    corners = _corners(front, reference)
    left = np.array([reference[0], *(x for x, _ in corners)])
    right = np.append(left[1:], np.inf)
    floor = np.array([*(y for _, y in corners), reference[1]])
    width = _expected_excess(mean[:, :1], sd[:, :1], left) - _expected_excess(mean[:, :1], sd[:, :1], right)
    return np.asarray((width * _expected_excess(mean[:, 1:], sd[:, 1:], floor)).sum(axis=1))


def _corners(front: Array, reference: Array) -> list[tuple[float, float]]:
    """Return the points that no other dominates and that are better than the reference, by rising first value."""
    corners: list[tuple[float, float]] = []
    for x, y in sorted(front[(front > reference).all(axis=1)].tolist(), reverse=True):
        if not corners or y > corners[-1][1]:
            corners.append((x, y))
    return corners[::-1]


def _expected_excess(mean: Array, sd: Array, level: Array) -> Array:
    """Return E[max(Y - level, 0)] of normal Y; 0 where the level is infinite."""
    z = np.where(np.isinf(level), -np.inf, (mean - level) / sd)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(sd * (density + np.where(np.isinf(z), 0.0, z) * ndtr(z)))
