"""A benchmark table as a search space."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from nas_core import tables
from nas_core.errors import InputError
from nas_core.types import Architecture, Decision, Signature


class Table:
    """The architectures of a benchmark table, to be looked up by the estimator `tabular` and never built.

    `path` is an `.npz` file as `nas_core.tables` describes it; options that are all numbers have these as attributes.
    Any signature will do. InputError for a file that is not a whole table.
    """

    def __init__(self, _signature: Signature, *, path: Path) -> None:
        self.table = path
        self._decisions = tables.read(path).decisions

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions that the file names."""
        return self._decisions

    def build(self, architecture: Architecture) -> NoReturn:
        """Raise InputError: a table holds figures, no networks."""
        raise InputError(
            f"table: {self.table} holds figures and no networks, {tuple(architecture)} cannot be built; "
            "use the estimator tabular, and a space of networks to train one"
        )
