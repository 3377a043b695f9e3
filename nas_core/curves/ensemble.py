"""Where a learning curve leads: the posterior over all families, by a grid and exact integrals instead of sampling.

After Domhan et al. 2015, "Speeding up Automatic Hyperparameter Optimization of Deep Neural Networks by Extrapolation of
Learning Curves". They draw from the posterior of a weighted sum of the families by MCMC, which takes a minute a curve.
Here each family is a model of its own, weighted by its evidence, and the posterior is summed over a grid of its shapes
and of the noise; given both, offset and factor have a normal posterior in closed form. So nothing is drawn, the same
curve gives the same answer, and a fit takes a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas_core.curves.families import FAMILIES, Family
from nas_core.curves.forecast import Forecast
from nas_core.errors import InputError

Array = NDArray[np.float64]

NOISES = np.geomspace(0.004, 1, 6)
"""Standard deviations of the noise, in units of `scale`, each as likely as the other."""

AHEAD, ACROSS = 0.3, 1.0
"""Prior standard deviations, in units of `scale`: of the figure at the last step around the newest one, and of the
change from the first step to the last around 0."""

_LEAST_WEIGHT = 1e-7
"""Of a component, as a share of the largest; lighter ones are left out."""

_LEAST_MOVE = 1e-5
"""Of a shape between the ends, as a share of where it begins."""


class Basis(NamedTuple):
    """The shapes (G,) of all families at steps (T,): a curve is `one` w + `two` v + `fixed`, w its figure at the end.

    `two` and `fixed` are 0 at the end, and v is the change from the first step to it; a family without such a term has
    0. `family` (G,) is the index of each shape's family, `prior` (G,) the logarithm of its prior probability: families
    are equally likely, and so are the shapes of one.
    """

    family: NDArray[np.int64]
    prior: Array
    one: Array
    two: Array
    fixed: Array


class _Posterior(NamedTuple):
    """Of shapes and noises (G, K): log evidence with prior; mean and variance of the figure at the end, noise included.

    Means are from the newest figure on, in units of the scale.
    """

    evidence: Array
    mean: Array
    variance: Array


def extrapolate(steps: Sequence[int], figures: Sequence[float], last: int, scale: float | None = None) -> Forecast:
    """Return the forecast of the figure at step `last`, noise included, of a curve known at rising `steps`.

    `scale` is how far such curves move, in the units of `figures`, which may rise or fall; left out, it is the range of
    these. InputError unless there is a finite figure a step, and the steps rise from 1 or more up to `last`.
    """
    y, unit, basis = _prepared(steps, figures, last, scale)
    found = _posterior(basis, y, unit)
    kept = found.evidence > found.evidence.max() + np.log(_LEAST_WEIGHT)
    weights = np.exp(found.evidence[kept] - found.evidence.max())
    return Forecast(weights / weights.sum(), y[-1] + unit * found.mean[kept], unit * np.sqrt(found.variance[kept]))


def family_weights(
    steps: Sequence[int], figures: Sequence[float], last: int, scale: float | None = None
) -> dict[str, float]:
    """Return the posterior probability of each family; arguments and errors are those of `extrapolate`."""
    y, unit, basis = _prepared(steps, figures, last, scale)
    evidence = _posterior(basis, y, unit).evidence
    shapes = np.exp(evidence - evidence.max()).sum(axis=1)
    sums = np.bincount(basis.family, shapes, minlength=len(FAMILIES)) / shapes.sum()
    return dict(zip(FAMILIES, sums.tolist(), strict=True))


def _posterior(basis: Basis, y: Array, unit: float) -> _Posterior:
    """Integrate offset and factor: Bayesian linear regression on two columns (Bishop 2006, equations 3.49 to 3.58)."""
    z = (y - y[-1] * basis.one - basis.fixed) / unit
    precision = 1 / NOISES**2
    a = np.einsum("gt,gt->g", basis.one, basis.one)[:, None] * precision + AHEAD**-2
    b = np.einsum("gt,gt->g", basis.one, basis.two)[:, None] * precision
    d = np.einsum("gt,gt->g", basis.two, basis.two)[:, None] * precision + ACROSS**-2
    p = np.einsum("gt,gt->g", basis.one, z)[:, None] * precision
    q = np.einsum("gt,gt->g", basis.two, z)[:, None] * precision
    determinant = a * d - b * b
    mean = (d * p - b * q) / determinant
    fit = mean * p + (a * q - b * p) / determinant * q - np.einsum("gt,gt->g", z, z)[:, None] * precision
    evidence = basis.prior[:, None] - len(y) * np.log(NOISES) + (fit - np.log(determinant)) / 2
    return _Posterior(evidence, mean, d / determinant + NOISES**2)


def _prepared(
    steps: Sequence[int], figures: Sequence[float], last: int, scale: float | None
) -> tuple[Array, float, Basis]:
    rises = all(a < b for a, b in pairwise(steps))
    if not steps or len(steps) != len(figures) or not rises or steps[0] < 1 or steps[-1] > last:
        raise InputError(
            f"curve: needs a figure at each of its steps, which rise from 1 or more up to {last}, "
            f"got {len(figures)} figures at {list(steps)}"
        )
    y = np.asarray(figures, dtype=np.float64)
    if not np.isfinite(y).all():
        raise InputError(f"curve: figures must be finite, got {figures}")
    unit = scale or float(np.ptp(y)) or abs(float(y[-1])) * 1e-3 or 1.0
    return y, unit, basis(tuple(steps), last)


@lru_cache(maxsize=256)
def basis(steps: tuple[int, ...], last: int) -> Basis:
    """Return the shapes of all families at `steps`, as they are for curves that end at `last`."""
    x = np.asarray(steps, dtype=np.float64) / steps[0]
    end = last / steps[0]
    parts = [_shapes(family, x, end) for family in FAMILIES.values()]
    counts = [len(one) for one, _, _ in parts]
    return Basis(
        np.repeat(np.arange(len(parts)), counts),
        -np.repeat(np.log(counts), counts),
        *(np.concatenate(columns) for columns in zip(*parts, strict=True)),
    )


def _shapes(family: Family, x: Array, end: float) -> tuple[Array, Array, Array]:
    """Return `one`, `two` and `fixed` of the shapes of `family` that say something between x = 1 and `end`.

    What does not move there is no curve, and what moves by more than a factor of 1,000 is none that is learned.
    """
    grid = [values[..., None] for values in np.ix_(*family.grid(end))]
    g = family.shape(np.array([1.0, end, *x]), *grid).reshape(-1, len(x) + 2)
    first, at_end, g = g[:, :1], g[:, 1:2], g[:, 2:]
    if family.kind == "scaled":
        tame = (np.abs(np.log(at_end / first)) < np.log(1000)).ravel()
        return (g / at_end)[tame], np.zeros_like(g)[tame], np.zeros_like(g)[tame]
    if family.kind == "shifted":
        return np.ones_like(g), np.zeros_like(g), g - at_end
    moves = (np.abs(at_end - first) > _LEAST_MOVE * np.abs(first)).ravel()
    two = (g[moves] - at_end[moves]) / (at_end - first)[moves]
    return np.ones_like(two), two, np.zeros_like(two)
