"""Table rows -> the arrays a model takes: fitted on the training rows, written as JSON, the same when serving."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from components.encodings.audio import Audio
from components.encodings.image import Image
from components.encodings.items import ItemError, Values
from components.encodings.table import Categorical, Numeric, numbers, text_of
from components.encodings.text import Text
from nas_core.errors import InputError
from nas_core.types import Port

if TYPE_CHECKING:  # a server encodes without pandas
    import pandas as pd

__all__ = ["Categorical", "Column", "Encoder", "Kind", "Media", "Numeric", "Values", "raw_columns", "text_of"]

Kind = Literal["numeric", "categorical", "image", "text", "audio"]
Media = Image | Text | Audio
"""A column whose values are worth a model of their own; it is the only input then."""

FILES = ("image", "audio")
"""The kinds whose values are the bytes of files."""

NUMERIC_PORT = "numeric"
_MEDIA: Mapping[str, Callable[..., Media]] = {each.kind: each for each in (Image, Text, Audio)}


class Column(NamedTuple):
    """A raw input column, as a caller of the model has to send it."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Encoder:
    """The encodings of all input columns; knows nothing but the rows it was fitted on."""

    numeric: tuple[Numeric, ...]
    categorical: tuple[Categorical, ...]
    media: tuple[Media, ...] = ()

    @classmethod
    def fit(cls, frame: pd.DataFrame, columns: Sequence[Column]) -> Encoder:
        """Return the encoder of a table's `columns`, numeric and categorical, for the training rows in `frame`."""
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
            + [Column(c.name, c.kind) for c in self.media]
        )

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        """The inputs of a model: one port for all numeric columns, then one per other column."""
        numeric = [Port(name=NUMERIC_PORT, shape=(len(self.numeric),))] if self.numeric else []
        return tuple(
            numeric
            + [Port(name=c.name, shape=(), dtype="int64", classes=len(c.categories) + 1) for c in self.categorical]
            + [c.port for c in self.media]
        )

    def encode(self, frame: pd.DataFrame) -> tuple[np.ndarray, ...]:
        """Return the arrays of `frame`'s rows in port order; InputError as `encode_columns`."""
        return self.encode_columns(self.raw(frame))

    def raw(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """Return those of our columns that `frame` has, as `raw_columns`."""
        return raw_columns(frame, [c for c in self.columns if c.name in frame.columns])

    def encode_columns(self, columns: Mapping[str, Values]) -> tuple[np.ndarray, ...]:
        """Return the arrays of the rows that `columns` (name -> one value per row) hold, in port order.

        A missing value is None or NaN; other columns than ours are ignored. InputError if one of ours is missing, if
        they differ in length, or if a numeric one holds what is no number; ItemError for no image, text or clip.
        """
        rows = self._rows(columns)
        table = np.empty((rows, len(self.numeric)), np.float32)
        for i, column in enumerate(self.numeric):
            table[:, i] = column.encode(numbers(column.name, columns[column.name]))
        others = tuple(column.encode(columns[column.name]) for column in (*self.categorical, *self.media))
        return (table, *others) if self.numeric else others

    def encode_batches(self, columns: Mapping[str, Values], size: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield what `encode_columns` returns, for up to `size` rows at a time; no rows are one empty batch."""
        for start in range(0, max(1, self._rows(columns)), size):
            try:
                yield self.encode_columns({c.name: columns[c.name][start : start + size] for c in self.columns})
            except ItemError as error:
                raise ItemError(error.column, start + error.row, error.reason) from error

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
        return {
            "numeric": [asdict(column) for column in self.numeric],
            "categorical": [asdict(column) for column in self.categorical],
            "media": media_to_json(self.media),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Encoder:
        """Return the encoder that `to_json` wrote."""
        return cls(
            tuple(Numeric(c["name"], c["median"], tuple(c["knots"]), c["mean"], c["scale"]) for c in value["numeric"]),
            tuple(Categorical(c["name"], tuple(c["categories"])) for c in value["categorical"]),
            media_from_json(value.get("media", ())),
        )


def media_to_json(media: Sequence[Media]) -> list[dict[str, Any]]:
    """Return encodings of images, texts and clips as JSON values."""
    return [{"kind": each.kind, **asdict(each)} for each in media]


def media_from_json(values: Sequence[Mapping[str, Any]]) -> tuple[Media, ...]:
    """Return the encodings that `media_to_json` wrote."""
    found = []
    for value in values:
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k != "kind"}
        found.append(_MEDIA[value["kind"]](**fields))
    return tuple(found)


def raw_columns(frame: pd.DataFrame, columns: Sequence[Column]) -> dict[str, np.ndarray]:
    """Return columns of `frame` as arrays in which missing is NaN (numeric, float64) or None (any other, object).

    InputError for a numeric column that holds something else.
    """
    raw: dict[str, np.ndarray] = {}
    for name, kind in columns:
        series = frame[name]
        if kind == "numeric" and series.dtype.kind in "biuf":
            raw[name] = series.to_numpy(np.float64, na_value=np.nan)
        else:
            values = series.astype(object).where(series.notna(), None).to_numpy()
            raw[name] = numbers(name, values) if kind == "numeric" else values
    return raw
