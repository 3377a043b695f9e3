"""What the training rows looked like, in little space: the reference that drift is measured against."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.encoding import Column, Media, media_from_json, media_to_json, raw_columns, text_of
from components.encodings.text import Text
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
    """How many rows, and what each column held; infinite numbers count as missing.

    Of a column of images, texts or clips, described by `media`, there are numeric columns with plain figures of each,
    such as `image.brightness`.
    """

    rows: int
    numeric: Mapping[str, NumericProfile]
    categorical: Mapping[str, CategoricalProfile]
    media: tuple[Media, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The raw columns that the profile describes."""
        figures = {_figure(each, name) for each in self.media for name in each.measures}
        return tuple(
            [Column(name, "numeric") for name in self.numeric if name not in figures]
            + [Column(name, "categorical") for name in self.categorical]
            + [Column(each.name, each.kind) for each in self.media]
        )

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame,
        columns: Sequence[Column],
        media: Sequence[Media] = (),
        *,
        fitted: bool = False,
        most_values: int = _MOST_VALUES,
    ) -> Profile:
        """Return the profile of `columns` of `frame`, of which images, texts and clips are measured by `media`.

        `fitted` tells that `media` were fitted on these rows, which must not make them look more familiar than others.
        InputError for text in a numeric column, ItemError for what is no image, text or clip.
        """
        raw = raw_columns(frame, columns)
        numbers = {c.name: raw[c.name] for c in columns if c.kind == "numeric"}
        for each in (m.for_training_rows() if fitted and isinstance(m, Text) else m for m in media):
            numbers |= {_figure(each, name): values for name, values in each.measure(raw[each.name]).items()}
        return cls(
            len(frame),
            {name: _numeric(values, most_values) for name, values in numbers.items()},
            {c.name: _categorical(raw[c.name]) for c in columns if c.kind == "categorical"},
            tuple(media),
        )

    def to_json(self) -> dict[str, Any]:
        """Return this profile as JSON values."""
        return {**asdict(self), "media": media_to_json(self.media)}

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
            media_from_json(value.get("media", ())),
        )


def _figure(media: Media, measure: str) -> str:
    return f"{media.name}.{measure}"


def _numeric(values: np.ndarray, most: int) -> NumericProfile:
    known = np.sort(values[np.isfinite(values)])
    if len(known) > most:
        known = known[np.linspace(0, len(known) - 1, most).round().astype(int)]
    return NumericProfile(tuple(known.tolist()), int((~np.isfinite(values)).sum()))


def _categorical(values: np.ndarray) -> CategoricalProfile:
    texts = [text_of(value) for value in values]
    known = sorted(text for text in texts if text is not None)
    return CategoricalProfile(dict(Counter(known)), len(texts) - len(known))
