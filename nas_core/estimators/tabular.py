"""The estimator that looks figures up in a benchmark table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from nas_core import tables
from nas_core.errors import InputError, unknown
from nas_core.interfaces import SearchSpace, Task
from nas_core.tables import BenchmarkTable, Column
from nas_core.types import Architecture, Metrics, Trial

_SHORT, _FULL = 12, 200
"""Epochs that NAS-Bench-201 has figures for."""


class Tabular:
    """Looks figures up in a benchmark table, where all was measured beforehand.

    `path` is the table's file (see `nas_core.tables`), by default the space's own; `dataset` one of those in it, which
    may be left out if there is one only. An architecture gets the figures of its own row; those of its twins differ by
    the noise of training.

    Of a generic table the metrics are all figures of the dataset, at any fidelity, but for those named in `hidden`. Of
    NAS-Bench-201's they are `accuracy` (validation, a share of 1) and `train_seconds`, both after 12 epochs for a
    fidelity up to 12/200 and else after 200; `params`, `macs`, `latency_ms` (on the authors' GPU, as seen in training)
    and `latency_ms/<device>`. Phones skip a cell that ignores its input: its latency is raised to the least of the
    others. What is hidden (always `test_accuracy` there) no search sees; `final` gives it to benchmarks.

    InputError for a table that is not whole or is another space's, and for metrics that are not finite.
    """

    cost = "a look-up"
    reference = "NAS-Bench-201: Dong and Yang 2020"
    batch = 1024

    def __init__(
        self,
        space: SearchSpace,
        _task: Task | None,
        _seed: int,
        *,
        path: Path | None = None,
        dataset: str = "",
        hidden: Sequence[str] = (),
    ) -> None:
        path = path or getattr(space, "table", None)
        if path is None:
            raise InputError("path: must name a benchmark table (.npz), since the space brings none")
        table = tables.read(path)
        _check_space(space, table)
        columns = _nas_bench_201 if table.is_nas_bench_201 else _generic
        full, short = columns(table, _dataset(table, dataset))
        for name in hidden:
            if name not in full:
                raise unknown("hidden", name, full)
        self._rows = table.rows
        self._hidden = {"test_accuracy", *hidden} if table.is_nas_bench_201 else set(hidden)
        self._full, self._short = full, {**full, **short}
        self._metrics = [name for name in full if name not in self._hidden]
        for name in self._metrics:
            _check_finite(table, name, full[name])

    def estimate_batch(self, trials: Sequence[Trial]) -> list[Metrics]:
        """Return the metrics of each trial's architecture at its fidelity."""
        return [self.metrics(trial.architecture, trial.fidelity) for trial in trials]

    def metrics(self, architecture: Architecture, fidelity: float = 1.0) -> Metrics:
        """Return what a search is told of `architecture`."""
        columns = self._short if fidelity <= _SHORT / _FULL else self._full
        row = self._rows[architecture]
        return {name: float(columns[name][row]) for name in self._metrics}

    def final(self, architecture: Architecture) -> Metrics:
        """Return what a search is not told, at full fidelity."""
        row = self._rows[architecture]
        return {name: float(self._full[name][row]) for name in sorted(self._hidden)}


def _check_space(space: SearchSpace, table: BenchmarkTable) -> None:
    ours, theirs = ([(d.name, d.options) for d in of.decisions] for of in (space, table))
    if ours != theirs:
        differ = next(pair for pair in zip_longest(ours, theirs) if pair[0] != pair[1])
        raise InputError(
            f"path: {table.path} must be a table of the space's decisions, the first that differs is {differ[0]} here "
            f"and {differ[1]} there; choose the space nas-bench-201 for NAS-Bench-201's table, and table for any other"
        )


def _dataset(table: BenchmarkTable, given: str) -> str:
    if not given and len(table.datasets) == 1:
        return table.datasets[0]
    if given not in table.datasets:
        raise unknown("dataset", given, table.datasets)
    return given


def _generic(table: BenchmarkTable, dataset: str) -> tuple[dict[str, Column], dict[str, Column]]:
    return {metric: table.column(f"{dataset}/{metric}") for metric in table.metrics(dataset)}, {}


def _nas_bench_201(table: BenchmarkTable, dataset: str) -> tuple[dict[str, Column], dict[str, Column]]:
    """Return the figures after 200 epochs, and those of them that are others after 12."""
    seconds = table.column(f"{dataset}/train_time_{_FULL}_s")
    full = {
        "accuracy": table.column(f"{dataset}/val_acc_{_FULL}") / 100,
        "test_accuracy": table.column(f"{dataset}/test_acc_{_FULL}") / 100,
        "train_seconds": seconds,
        "params": table.column(f"{dataset}/params"),
        "macs": table.column(f"{dataset}/flops"),
        "latency_ms": table.column(f"{dataset}/gpu_latency_s") * 1000,
        **_latencies(table),
    }
    short = {"accuracy": table.column(f"{dataset}/val_acc_{_SHORT}") / 100, "train_seconds": seconds * _SHORT / _FULL}
    return full, short


def _latencies(table: BenchmarkTable) -> dict[str, Column]:
    """Return the latencies on devices, if the file has any."""
    if not {"latency_ms", "latency_devices"} <= table.arrays.keys():
        return {}
    cells = np.array(list(table.rows)) > 0
    first, second, between, direct, third, fourth = cells.T
    connected = direct | first & third | second & fourth | first & between & fourth
    devices = tables.texts(table.arrays["latency_devices"])
    columns = {d: table.arrays["latency_ms"][:, i].astype(np.float64) for i, d in enumerate(devices)}
    return {f"latency_ms/{d}": np.maximum(column, column[connected].min()) for d, column in columns.items()}


def _check_finite(table: BenchmarkTable, metric: str, column: Column) -> None:
    bad = np.flatnonzero(~np.isfinite(column))
    if len(bad):
        raise InputError(
            f"{table.path}: {metric} must be finite, got {column[bad[0]]} in row {bad[0]}, one of {len(bad)} such "
            "rows; measure them again, or name it in hidden"
        )
