"""The columns of a table: numbers and categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.encodings.items import Values, never_known
from nas_core.errors import InputError

_INTERVALS = 32


@dataclass(frozen=True, slots=True)
class Numeric:
    """A numeric column: the place of a value among `knots`, standardised over the training rows.

    A knot is every value that more than one in 32 training rows share, and quantiles of the other rows. So the rare
    values beside a frequent one (a gain where most have none) are spread out as far as the frequent ones, and a stray
    value counts as no more than the outermost knot. Between knots the place is linear. Missing and infinite values are
    taken as the `median`.
    """

    name: str
    median: float
    knots: tuple[float, ...]
    mean: float
    scale: float

    @classmethod
    def fit(cls, name: str, values: np.ndarray) -> Numeric:
        """Return the encoding for `values`, float64 (rows,); InputError if not one of them is finite."""
        known = values[np.isfinite(values)]
        if not len(known):
            raise never_known(name)
        knots = _knots(known)
        place = np.interp(known, knots, np.arange(len(knots)))
        return cls(name, float(np.median(known)), tuple(knots.tolist()), float(place.mean()), float(place.std()) or 1.0)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Return the standardised places of `values`, float32 (rows,)."""
        known = np.where(np.isfinite(values), values, self.median)
        place = np.interp(known, self.knots, np.arange(len(self.knots)))
        return ((place - self.mean) / self.scale).astype(np.float32)


def _knots(known: np.ndarray) -> np.ndarray:
    values, counts = np.unique(known, return_counts=True)
    frequent = values[counts > len(known) / _INTERVALS]
    others = known[~np.isin(known, frequent)]
    if not len(others):
        return frequent
    levels = np.linspace(0, 1, max(2, _INTERVALS + 1 - len(frequent)))
    return np.unique(np.concatenate([frequent, np.quantile(others, levels)]))


@dataclass(frozen=True, slots=True)
class Categorical:
    """A categorical column: category i of the training rows is i + 1; 0 is missing, or was never seen."""

    name: str
    categories: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, values: Values) -> Categorical:
        """Return the encoding for `values`, their distinct texts, sorted; InputError if all are missing."""
        categories = sorted({text for value in values if (text := text_of(value)) is not None})
        if not categories:
            raise never_known(name)
        return cls(name, tuple(categories))

    def encode(self, values: Values) -> np.ndarray:
        """Return the indices of `values`, int64 (rows,)."""
        index: dict[str | None, int] = {category: i for i, category in enumerate(self.categories, start=1)}
        return np.array([index.get(text_of(value), 0) for value in values], np.int64)


def text_of(value: Any) -> str | None:
    """Return a category or class as text: None if it is missing, and 1 for 1.0, which a missing value makes of 1."""
    if value is None:
        return None
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return str(value)


def numbers(name: str, values: Values) -> np.ndarray:
    """Return the values of column `name` as float64 (rows,), missing as NaN; InputError if one is no number."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf" and any(isinstance(value, str) for value in values):
            raise TypeError("got text")
        return array.astype(np.float64).reshape(len(values))
    except (TypeError, ValueError) as error:
        raise InputError(f"column {name!r}: expected one number a row, or null where missing ({error})") from error
