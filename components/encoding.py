"""Table rows -> the arrays a model takes: fitted on the training rows, written as JSON, the same when serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from nas_core.errors import InputError
from nas_core.types import Port

if TYPE_CHECKING:  # a server encodes without pandas
    import pandas as pd

Values = Sequence[Any] | np.ndarray
"""One value per row."""

NUMERIC_PORT = "numeric"
_INTERVALS = 32


class Column(NamedTuple):
    """A raw input column, as a caller of the model has to send it."""

    name: str
    kind: Literal["numeric", "categorical"]


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
            raise _never_known(name)
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
            raise _never_known(name)
        return cls(name, tuple(categories))

    def encode(self, values: Values) -> np.ndarray:
        """Return the indices of `values`, int64 (rows,)."""
        index: dict[str | None, int] = {category: i for i, category in enumerate(self.categories, start=1)}
        return np.array([index.get(text_of(value), 0) for value in values], np.int64)


@dataclass(frozen=True)
class Encoder:
    """The encodings of all input columns; knows nothing but the rows it was fitted on."""

    numeric: tuple[Numeric, ...]
    categorical: tuple[Categorical, ...]

    @classmethod
    def fit(cls, frame: pd.DataFrame, columns: Sequence[Column]) -> Encoder:
        """Return the encoder of `columns` for the training rows in `frame`."""
        raw = raw_columns(frame, columns)
        return cls(
            tuple(Numeric.fit(c.name, raw[c.name]) for c in columns if c.kind == "numeric"),
            tuple(Categorical.fit(c.name, raw[c.name]) for c in columns if c.kind == "categorical"),
        )

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The raw columns that `encode` needs."""
        return tuple(
            [Column(c.name, "numeric") for c in self.numeric]
            + [Column(c.name, "categorical") for c in self.categorical]
        )

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        """The inputs of a model: one port for all numeric columns, then one per categorical column."""
        numeric = [Port(name=NUMERIC_PORT, shape=(len(self.numeric),))] if self.numeric else []
        return tuple(
            numeric
            + [Port(name=c.name, shape=(), dtype="int64", classes=len(c.categories) + 1) for c in self.categorical]
        )

    def encode(self, frame: pd.DataFrame) -> tuple[np.ndarray, ...]:
        """Return the arrays of `frame`'s rows in port order; InputError as `encode_columns`."""
        return self.encode_columns(raw_columns(frame, [c for c in self.columns if c.name in frame.columns]))

    def encode_columns(self, columns: Mapping[str, Values]) -> tuple[np.ndarray, ...]:
        """Return the arrays of the rows that `columns` (name -> one value per row) hold, in port order.

        A missing value is None or NaN; other columns than ours are ignored. InputError if one of ours is missing, if
        they differ in length, or if a numeric one holds what is no number.
        """
        rows = self._rows(columns)
        numbers = np.empty((rows, len(self.numeric)), np.float32)
        for i, column in enumerate(self.numeric):
            numbers[:, i] = column.encode(_numbers(column.name, columns[column.name]))
        indices = tuple(column.encode(columns[column.name]) for column in self.categorical)
        return (numbers, *indices) if self.numeric else indices

    def _rows(self, columns: Mapping[str, Values]) -> int:
        absent = [c.name for c in self.columns if c.name not in columns]
        if absent:
            raise InputError(
                f"columns: {', '.join(absent)} not given; send every column of the model, null for missing"
            )
        lengths = {c.name: len(columns[c.name]) for c in self.columns}
        if len(set(lengths.values())) > 1:
            raise InputError(f"columns: all need the same number of rows, got {lengths}")
        return next(iter(lengths.values()), 0)

    def to_json(self) -> dict[str, Any]:
        """Return this encoder as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Encoder:
        """Return the encoder that `to_json` wrote."""
        return cls(
            tuple(Numeric(c["name"], c["median"], tuple(c["knots"]), c["mean"], c["scale"]) for c in value["numeric"]),
            tuple(Categorical(c["name"], tuple(c["categories"])) for c in value["categorical"]),
        )


def text_of(value: Any) -> str | None:
    """Return a category or class as text: None if it is missing, and 1 for 1.0, which a missing value makes of 1."""
    if value is None:
        return None
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return str(value)


def _never_known(name: str) -> InputError:
    return InputError(f"column {name!r}: no training row has a value; add it to task.drop")


def _numbers(name: str, values: Values) -> np.ndarray:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf" and any(isinstance(value, str) for value in values):
            raise TypeError("got text")
        return array.astype(np.float64).reshape(len(values))
    except (TypeError, ValueError) as error:
        raise InputError(f"column {name!r}: expected one number a row, or null where missing ({error})") from error


def raw_columns(frame: pd.DataFrame, columns: Sequence[Column]) -> dict[str, np.ndarray]:
    """Return columns of `frame` as arrays in which missing is NaN (numeric, float64) or None (categorical, object).

    InputError for a numeric column that holds something else.
    """
    raw: dict[str, np.ndarray] = {}
    for name, kind in columns:
        series = frame[name]
        if kind == "numeric" and series.dtype.kind in "biuf":
            raw[name] = series.to_numpy(np.float64, na_value=np.nan)
        else:
            values = series.astype(object).where(series.notna(), None).to_numpy()
            raw[name] = _numbers(name, values) if kind == "numeric" else values
    return raw
