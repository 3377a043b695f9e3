"""What the training rows looked like, in little space: the reference that drift is measured against."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.encoding import Column, raw_columns, text_of
from nas_core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_MOST_VALUES = 5_000


@dataclass(frozen=True, slots=True)
class NumericProfile:
    """A numeric column: `values` in rising order, thinned out evenly to 5,000 at most, and the missing rows."""

    values: tuple[float, ...]
    missing: int


@dataclass(frozen=True, slots=True)
class CategoricalProfile:
    """A categorical column: rows per category, and the missing rows."""

    counts: Mapping[str, int]
    missing: int


@dataclass(frozen=True, slots=True)
class Profile:
    """How many rows, and what each column held; infinite numbers count as missing."""

    rows: int
    numeric: Mapping[str, NumericProfile]
    categorical: Mapping[str, CategoricalProfile]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that the profile describes."""
        return tuple(
            [Column(name, "numeric") for name in self.numeric]
            + [Column(name, "categorical") for name in self.categorical]
        )

    @classmethod
    def of(cls, frame: pd.DataFrame, columns: Sequence[Column], most_values: int = _MOST_VALUES) -> Profile:
        """Return the profile of `columns` of `frame`; InputError for text in a numeric column."""
        raw = raw_columns(frame, columns)
        return cls(
            len(frame),
            {c.name: _numeric(raw[c.name], most_values) for c in columns if c.kind == "numeric"},
            {c.name: _categorical(raw[c.name]) for c in columns if c.kind == "categorical"},
        )

    def to_json(self) -> dict[str, Any]:
        """Return this profile as JSON values."""
        return asdict(self)

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read the profile that `to_json` wrote into `path`; InputError if there is none."""
        if not path.is_file():
            raise InputError(f"{path}: no profile of training data; run data preparation first")
        value = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            value["rows"],
            {name: NumericProfile(tuple(c["values"]), c["missing"]) for name, c in value["numeric"].items()},
            {name: CategoricalProfile(c["counts"], c["missing"]) for name, c in value["categorical"].items()},
        )


def _numeric(values: np.ndarray, most: int) -> NumericProfile:
    known = np.sort(values[np.isfinite(values)])
    if len(known) > most:
        known = known[np.linspace(0, len(known) - 1, most).round().astype(int)]
    return NumericProfile(tuple(known.tolist()), int((~np.isfinite(values)).sum()))


def _categorical(values: np.ndarray) -> CategoricalProfile:
    texts = [text_of(value) for value in values]
    known = sorted(text for text in texts if text is not None)
    return CategoricalProfile(dict(Counter(known)), len(texts) - len(known))
