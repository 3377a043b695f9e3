"""What images, texts and clips have in common: they are read one by one, and one of them may not be readable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nas_core.errors import InputError

if TYPE_CHECKING:  # a server encodes without pandas
    import pandas as pd

T = TypeVar("T")

Values = Sequence[Any] | np.ndarray
"""One value per row."""


class ItemError(InputError):
    """A value that cannot be read; `row` is its place among the values given, from 0."""

    def __init__(self, column: str, row: int, reason: str) -> None:
        super().__init__(f"column {column!r}, row {row}: {reason}")
        self.column, self.row, self.reason = column, row, reason


def read_each(name: str, values: Values, read: Callable[[Any], T]) -> Iterator[T]:
    """Yield `read(value)` of all values of column `name`, which is given None for a missing one.

    The ValueError of one is raised as ItemError.
    """
    for row, value in enumerate(values):
        missing = value is None or (isinstance(value, float) and np.isnan(value))
        try:
            item = read(None if missing else value)
        except ValueError as error:
            raise ItemError(name, row, str(error)) from error
        yield item


def as_columns(names: Sequence[str], rows: Iterable[Sequence[float]]) -> dict[str, np.ndarray]:
    """Return the figures in `rows`, one of each name a row, as float64 (rows,) by name."""
    table = np.array(list(rows), np.float64).reshape(-1, len(names))
    return {name: table[:, i] for i, name in enumerate(names)}


def never_known(name: str, what: str = "a value", fix: str = "add it to task.drop") -> InputError:
    """Return the error for a column of which nothing can be learned."""
    return InputError(f"column {name!r}: no training row has {what}; {fix}")


@contextmanager
def naming_rows(frame: pd.DataFrame) -> Iterator[None]:
    """Let an ItemError within name the row by its label in `frame`, and its file if there is a column `file`."""
    try:
        yield
    except ItemError as error:
        file = f" ({frame['file'].iloc[error.row]})" if "file" in frame else ""
        raise InputError(f"column {error.column!r}, row {frame.index[error.row]}{file}: {error.reason}") from error
