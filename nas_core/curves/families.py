"""The parametric families of learning curves (Domhan et al. 2015, table 1), each as a grid of shapes.

In every family two of the parameters at most, its offset and its factor, enter linearly: those are integrated exactly.
The others have a grid of values, wide enough for whatever a learning curve of `last` steps looks like. x counts in
first reports: it is 1 at the first. Weibull, Janoschek and exp4 are the same functions with other grids, which makes
them different priors, and so are Hill's and the log power's; the paper has all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Family(NamedTuple):
    """The curves c + s g(x) (`affine`), s g(x) (`scaled`) or c + g(x) (`shifted`); g is a `shape` with parameters.

    `shape(x, *parameters)` broadcasts; `grid(last)` gives the values of each parameter for x from 1 to `last`.
    """

    kind: Literal["affine", "scaled", "shifted"]
    shape: Callable[..., Any]
    grid: Callable[[float], tuple[Array, ...]]


def _between(low: float, high: float, count: int) -> Array:
    return np.geomspace(low, high, count)


def _power(base: Array, exponent: Array) -> Array:
    # On a grid the logarithm is taken of far fewer numbers than the power would be.
    return np.exp(exponent * np.log(base))


def _log_power(x: Array, middle: Array, power: Array) -> Array:
    return 1 / (1 + _power(x / middle, power))


def _both(values: Array) -> Array:
    return np.concatenate([-values[::-1], values])


FAMILIES: Mapping[str, Family] = {
    # c - a x^-alpha
    "pow3": Family("affine", lambda x, alpha: -_power(x, -alpha), lambda _: (_between(0.05, 5, 50),)),
    # c - (a x + b)^-alpha, that is c - a^-alpha (x + b / a)^-alpha
    "pow4": Family(
        "affine",
        lambda x, shift, alpha: -_power(x + shift, -alpha),
        lambda last: (_between(0.1, 3 * last, 10), _between(0.1, 8, 16)),
    ),
    # log(a log x + b), that is log b + log(1 + (a / b) log x)
    "log log linear": Family(
        "shifted", lambda x, rate: np.log1p(rate * np.log(x)), lambda _: (_between(0.01, 10, 50),)
    ),
    # a / (1 + (x / e^b)^c)
    "log power": Family("scaled", _log_power, lambda last: (_between(0.05, 4 * last, 18), _both(_between(0.2, 5, 12)))),
    # alpha - (alpha - beta) / (1 + (kappa x)^delta)
    "MMF": Family(
        "affine",
        lambda x, rate, power: -1 / (1 + _power(rate * x, power)),
        lambda last: (_between(0.25 / last, 10, 18), _between(0.3, 5, 12)),
    ),
    # c - e^(-a x + b)
    "exp3": Family("affine", lambda x, rate: -np.exp(-rate * x), lambda last: (_between(0.2 / last, 4, 50),)),
    # c - e^(-a x^alpha + b)
    "exp4": Family(
        "affine",
        lambda x, rate, power: -np.exp(-rate * _power(x, power)),
        lambda _: (_between(0.05, 5, 16), _between(0.1, 2, 12)),
    ),
    # alpha - (alpha - beta) e^(-kappa x^delta)
    "Janoschek": Family(
        "affine",
        lambda x, rate, power: -np.exp(-rate * _power(x, power)),
        lambda last: (_between(0.1 / last, 4, 20), _between(0.3, 3, 12)),
    ),
    # alpha - (alpha - beta) e^(-(kappa x)^delta)
    "Weibull": Family(
        "affine",
        lambda x, rate, power: -np.exp(-_power(rate * x, power)),
        lambda last: (_between(0.3 / last, 4, 18), _between(0.3, 5, 14)),
    ),
    # c - a / log(x + 1)
    "ilog2": Family("affine", lambda x: -1 / np.log(x + 1), lambda _: ()),
    # e^(a + b / x + c log x)
    "vapour pressure": Family(
        "scaled",
        lambda x, inverse, power: np.exp(inverse / x + power * np.log(x)),
        lambda _: (np.linspace(-2, 2, 21), np.linspace(-0.5, 0.5, 21)),
    ),
    # ymax x^eta / (kappa^eta + x^eta)
    "Hill3": Family(
        "scaled",
        lambda x, middle, power: 1 / (1 + _power(middle / x, power)),
        lambda last: (_between(0.05, 4 * last, 20), _between(0.2, 5, 14)),
    ),
}
