"""From a few hundred measured architectures to all others of the space: kernel ridge regression, chosen by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas_core import space as algebra
from nas_core.interfaces import SearchSpace, Structured
from nas_core.types import Architecture

Array = NDArray[np.float64]

_RIDGES = np.logspace(-6, 1, 15)
_REACHES = (0.5, 1.0, 2.0, 4.0)


class _Kernel(NamedTuple):
    """`linear` (main effects), `pairs` (and those of every two columns together), or `rbf` with a reach."""

    kind: str
    reach: float = 1.0

    def __call__(self, a: Array, b: Array) -> Array:
        """Return the similarities (N, M) of rows a (N, C) and b (M, C)."""
        products: Array = a @ b.T
        if self.kind == "linear":
            linear: Array = 1 + products
            return linear
        if self.kind == "pairs":
            pairs: Array = (1 + products) ** 2
            return pairs
        squares = (a**2).sum(1)[:, np.newaxis] + (b**2).sum(1) - 2 * products
        # Main effects go on beyond what was measured; the rest falls back to them.
        near: Array = 1 + products + np.exp(-np.maximum(squares, 0) / (2 * self.reach**2))
        return near


_KERNELS = (_Kernel("linear"), _Kernel("pairs"), *(_Kernel("rbf", reach) for reach in _REACHES))


class Predictor:
    """Predicts a positive figure of architectures from the `measured` ones of `space`.

    An architecture is three blocks of numbers, standardised, each block with a total variance of 1: which option each
    active decision has (one-hot), the options' attributes, and the space's own features if it is `Structured`. Of a
    few kernels (main effects, pairwise terms, radial basis functions) and ridges, and of the figure and its logarithm,
    that combination is taken whose leave-one-out error (in closed form: Rasmussen and Williams 2006, section 5.4.2) is
    least, squared, in the figure's own units. `error` is its root. Predictions are never below half the least figure
    that was measured.
    """

    def __init__(self, space: SearchSpace, measured: Mapping[Architecture, float]) -> None:
        self._space = space
        raw, blocks = _columns(space, list(measured))
        spread = raw.std(0)
        self._center = raw.mean(0)
        self._scale = np.where(spread > 1e-12, 1 / np.maximum(spread, 1e-12), 0.0) / np.sqrt(blocks)
        self._known = (raw - self._center) * self._scale
        figures = np.array(list(measured.values()))
        self._least = float(figures.min()) / 2
        self._most_log = float(np.log(figures.max())) + 1
        fits = [_fit(kernel, self._known, figures, log=log) for kernel in _KERNELS for log in (False, True)]
        best = min(fits, key=lambda fit: fit.error)
        self.error, self._kernel, self._log = best.error, best.kernel, best.log
        self._weights, self._offset = best.weights, best.offset

    def predict(self, architectures: Sequence[Architecture]) -> Array:
        """Return the figures (N,) of N architectures, in the units of what was measured."""
        raw, _ = _columns(self._space, architectures)
        found = self._kernel((raw - self._center) * self._scale, self._known) @ self._weights + self._offset
        if self._log:
            found = np.exp(np.minimum(found, self._most_log))
        predictions: Array = np.maximum(found, self._least)
        return predictions


class _Fit(NamedTuple):
    error: float
    kernel: _Kernel
    log: bool
    weights: Array
    offset: float


def _fit(kernel: _Kernel, known: Array, figures: Array, *, log: bool) -> _Fit:
    """Return the fit with the best ridge."""
    target = np.log(figures) if log else figures
    offset = float(target.mean())
    values, vectors = np.linalg.eigh(kernel(known, known))
    values, projected = np.maximum(values, 0), vectors.T @ (target - offset)
    scale, fits = values.mean(), []
    for ridge in _RIDGES:
        inverse = 1 / (values + ridge * scale)
        weights = vectors @ (inverse * projected)
        left_out = target - weights / np.maximum((vectors**2) @ inverse, 1e-300)
        predicted = np.exp(np.minimum(left_out, np.log(figures.max()) + 1)) if log else left_out
        error = float(np.sqrt(np.mean((predicted - figures) ** 2)))
        fits.append(_Fit(error, kernel, log, weights, offset))
    return min(fits, key=lambda fit: fit.error)


def _columns(space: SearchSpace, architectures: Sequence[Architecture]) -> tuple[Array, Array]:
    """Return the rows (N, C), and for each column how many varied columns its block has at most."""
    one_hot = np.array([algebra.encode(space, architecture) for architecture in architectures])
    attributes = np.array([_attributes(space, architecture) for architecture in architectures])
    blocks = [one_hot, attributes.reshape(len(architectures), -1)]
    if isinstance(space, Structured):
        blocks.append(np.array([list(space.features(architecture).values()) for architecture in architectures]))
    widths = np.concatenate([np.full(block.shape[1], max(block.shape[1], 1)) for block in blocks])
    return np.hstack(blocks), widths.astype(float)


def _attributes(space: SearchSpace, architecture: Architecture) -> list[float]:
    """Return the attributes of the options, decision by decision; those of an inactive one are 0."""
    on = algebra.active(space, architecture)
    return [
        number * is_on
        for decision, option, is_on in zip(space.decisions, architecture, on, strict=True)
        if decision.attributes
        for number in decision.attributes[option]
    ]
