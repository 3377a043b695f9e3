"""Benchmark tables: every architecture of a space measured beforehand, in one `.npz` file.

The generic form holds

    architectures         (N, D) integers, an option index per decision; every combination of options once
    decision_names        (D,) text
    options               JSON text: for each decision the list of its options' names
    <dataset>/<metric>    (N,) numbers, a figure per architecture

and the form of NAS-Bench-201 (Dong and Yang 2020)

    ops                   (15625, 6) integers into op_names, an operation per edge in the order of the cell string
    op_names              (5,) text
    latency_ms            (15625, K) numbers for the K `latency_devices`
    <dataset>/<metric>    (15625,) numbers: val_acc_200, test_acc_200, val_acc_12, train_time_200_s, params, flops ...
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from nas_core.decisions import check_decisions
from nas_core.errors import InputError, unknown
from nas_core.types import Architecture, Decision

Column = NDArray[np.float64]
"""A figure per row of a table, (N,)."""

_EDGES = ("0->1", "0->2", "1->2", "0->3", "1->3", "2->3")


@dataclass(frozen=True)
class BenchmarkTable:
    """A table as it was read: its form, the decisions of its space, each architecture's row, and all arrays."""

    path: Path
    is_nas_bench_201: bool
    decisions: tuple[Decision, ...]
    rows: Mapping[Architecture, int]
    arrays: Mapping[str, NDArray[Any]]

    @property
    def datasets(self) -> list[str]:
        """What stands before the `/` in the names of figures, sorted."""
        return sorted({name.partition("/")[0] for name in self.arrays if "/" in name})

    def metrics(self, dataset: str) -> list[str]:
        """Return the names of the figures of `dataset`, without it, in the order of the file."""
        return [name.removeprefix(f"{dataset}/") for name in self.arrays if name.startswith(f"{dataset}/")]

    def column(self, name: str) -> Column:
        """Return the figures `<dataset>/<metric>`; InputError unless there is a number for each architecture."""
        if name not in self.arrays:
            raise unknown(str(self.path), name, [known for known in self.arrays if "/" in known])
        figures = self.arrays[name]
        if figures.shape != (len(self.rows),) or figures.dtype.kind not in "iuf":
            raise InputError(
                f"{self.path}: {name} must hold a number for each of {len(self.rows)} architectures, "
                f"got {figures.dtype} of shape {figures.shape}"
            )
        return figures.astype(np.float64)


def read(path: str | Path) -> BenchmarkTable:
    """Read the table at `path`; InputError unless it is a whole table of one of the two forms."""
    try:
        arrays = _arrays(Path(path))
        is_nas_bench_201 = "ops" in arrays
        decisions, indices = _nas_bench_201(arrays) if is_nas_bench_201 else _generic(arrays)
        check_decisions(decisions)
        rows = _rows(decisions, indices)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return BenchmarkTable(Path(path), is_nas_bench_201, decisions, rows, arrays)


def texts(array: NDArray[Any]) -> list[str]:
    """Return the texts of an array, which may hold them as bytes."""
    return [value.decode() if isinstance(value, bytes) else str(value) for value in array.ravel().tolist()]


# ---------------------------------------------------------------- the two forms


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream:  # which NumPy would leave open if it cannot read it
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise ValueError("it is a lone array")
            return dict(loaded)
    except FileNotFoundError as error:
        raise InputError("no such file; give the path of a benchmark table (.npz)") from error
    except (OSError, ValueError, EOFError, BadZipFile, AttributeError) as error:
        raise InputError(f"must be an .npz file of plain arrays, which this is not ({error})") from error


def _array(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in arrays:
        raise InputError(f"a table must have {name!r}, this one has {', '.join(arrays) or 'nothing'}")
    return arrays[name]


def _nas_bench_201(arrays: Mapping[str, NDArray[Any]]) -> tuple[tuple[Decision, ...], NDArray[Any]]:
    operations = tuple(texts(_array(arrays, "op_names")))
    return tuple(Decision(name=name, options=operations) for name in _EDGES), arrays["ops"]


def _generic(arrays: Mapping[str, NDArray[Any]]) -> tuple[tuple[Decision, ...], NDArray[Any]]:
    indices, names = _array(arrays, "architectures"), texts(_array(arrays, "decision_names"))
    text = texts(_array(arrays, "options"))
    try:
        options = json.loads(text[0]) if len(text) == 1 else None
    except ValueError:
        options = None
    if not isinstance(options, list) or not all(isinstance(each, list) for each in options):
        raise InputError(f"options must be one JSON text, a list of lists of names, got {', '.join(text)[:80]!r}")
    if len(options) != len(names):
        raise InputError(f"options must be {len(names)} lists, one per decision, got {len(options)}")
    return tuple(_decision(name, [str(o) for o in each]) for name, each in zip(names, options, strict=True)), indices


def _decision(name: str, options: list[str]) -> Decision:
    """Return a decision; options that are all finite numbers are its attributes as well."""
    try:
        values = [float(option) for option in options]
    except ValueError:
        values = []
    attributes = tuple((value,) for value in values) if all(map(math.isfinite, values)) else ()
    return Decision(name=name, options=tuple(options), attributes=attributes)


# ---------------------------------------------------------------- rows


def _rows(decisions: tuple[Decision, ...], indices: NDArray[Any]) -> dict[Architecture, int]:
    """Return the row of each architecture; InputError unless every combination of options has exactly one."""
    if indices.ndim != 2 or indices.shape[1] != len(decisions) or indices.dtype.kind not in "iu":
        raise InputError(
            f"architectures must be integers of shape (N, {len(decisions)}), a column per decision, "
            f"got {indices.dtype} of shape {indices.shape}"
        )
    counts = [len(decision.options) for decision in decisions]
    for row, place in np.argwhere((indices < 0) | (indices >= counts))[:1].tolist():
        raise InputError(
            f"row {row} must have an option of {decisions[place].name} from 0 to {counts[place] - 1}, "
            f"got {indices[row, place]}"
        )
    architectures = [tuple(row) for row in indices.tolist()]
    rows: dict[Architecture, int] = {}
    for row, architecture in enumerate(architectures):
        if rows.setdefault(architecture, row) != row:
            raise InputError(
                f"every architecture must have one row, got {len(indices) - len(set(architectures))} duplicates: "
                f"row {row} is row {rows[architecture]} again, {architecture}"
            )
    if len(rows) < math.prod(counts):
        absent = next(choice for choice in product(*map(range, counts)) if choice not in rows)
        raise InputError(
            f"every architecture must have a row, {math.prod(counts) - len(rows)} of {math.prod(counts)} have none, "
            f"such as {absent}"
        )
    return rows
