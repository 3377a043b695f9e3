"""Figures looked up in a table: the row's own, what a search may see of them, and what is wrong with a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nas_core.errors import InputError
from nas_core.estimators.tabular import Tabular
from nas_core.interfaces import BatchEstimator
from nas_core.searching import search
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.spaces.table import Table
from nas_core.strategies.random import Random
from nas_core.types import Budget, Objective, Port, Signature, Status, Trial

IMAGES = Signature(
    inputs=(Port(name="image", shape=(3, 32, 32)),), outputs=(Port(name="label", shape=(10,), classes=10),)
)
CELLS = NasBench201(IMAGES)
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
"""The best cell on CIFAR-10: 91.607 % on validation rows, 94.373 % on test rows."""


@pytest.fixture
def bench(data: Path) -> str:
    return str(data / "nb201.npz")


@pytest.fixture
def small(tmp_path: Path) -> str:
    path = tmp_path / "small.npz"
    np.savez(
        path,
        architectures=np.array([[1, 1], [0, 0], [0, 1], [1, 0]], dtype=np.uint8),
        decision_names=np.array(["a", "b"]),
        options=np.array(json.dumps([["x", "y"], ["1", "2"]])),
        **figures({"toy/accuracy": [0.4, 0.1, 0.2, 0.3], "toy/test_accuracy": [4, 1, 2, 3], "other/accuracy": [0] * 4}),
    )
    return str(path)


def figures(columns: dict[str, Sequence[float]]) -> Any:
    return {name: np.array(column) for name, column in columns.items()}


def rewritten(path: str, **changed: NDArray[Any]) -> str:
    with np.load(path, allow_pickle=False) as file:
        content: Any = {**dict(file.items()), **changed}
    np.savez(path, **content)
    return path


# ---------------------------------------------------------------- NAS-Bench-201


def test_a_cell_has_the_published_figures(bench: str) -> None:
    metrics = Tabular(CELLS, None, 0, path=bench, dataset="cifar10").metrics(CELLS.from_string(BEST))
    assert metrics["accuracy"] == pytest.approx(0.91607, abs=1e-5)
    assert metrics["params"] == 1_073_466
    assert metrics["macs"] == 153_272_960
    assert metrics["train_seconds"] == pytest.approx(2879.75, abs=0.01)
    assert 5 < metrics["latency_ms"] < 30


def test_a_low_fidelity_is_the_figures_after_12_epochs(bench: str) -> None:
    tabular = Tabular(CELLS, None, 0, path=bench, dataset="cifar10")
    short, full = (tabular.metrics(CELLS.from_string(BEST), fidelity) for fidelity in (12 / 200, 0.07))
    assert short["accuracy"] < full["accuracy"]
    assert short["train_seconds"] == pytest.approx(full["train_seconds"] * 12 / 200)
    assert short["params"] == full["params"]


def test_the_search_is_not_told_of_test_rows_and_a_benchmark_is(bench: str) -> None:
    tabular = Tabular(CELLS, None, 0, path=bench, dataset="cifar10")
    assert not [name for name in tabular.metrics((0,) * 6) if "test" in name]
    assert tabular.final(CELLS.from_string(BEST)) == {"test_accuracy": pytest.approx(0.94373, abs=1e-5)}


def test_twins_keep_their_own_figures(bench: str) -> None:
    tabular = Tabular(CELLS, None, 0, path=bench, dataset="cifar10")
    twins = [(0, 2, 0, 0, 0, 3), (2, 0, 0, 0, 3, 0)]
    assert CELLS.canonical(twins[0]) == CELLS.canonical(twins[1])
    assert tabular.metrics(twins[0])["accuracy"] != tabular.metrics(twins[1])["accuracy"]


def test_every_device_has_a_latency_and_none_is_that_of_a_cell_that_was_skipped(bench: str) -> None:
    metrics = Tabular(CELLS, None, 0, path=bench, dataset="cifar10").metrics((0,) * 6)
    devices = {name: value for name, value in metrics.items() if name.startswith("latency_ms/")}
    assert len(devices) == 6
    assert min(devices.values()) > 0.5


# ---------------------------------------------------------------- generic tables


def test_a_batch_gets_each_rows_own_figures(small: str) -> None:
    tabular = Tabular(Table(IMAGES, path=small), None, 0, dataset="toy", hidden=["test_accuracy"])
    trials = [Trial(number=i, architecture=a) for i, a in enumerate([(1, 0), (0, 0), (1, 1)])]
    assert tabular.estimate_batch(trials) == [{"accuracy": 0.3}, {"accuracy": 0.1}, {"accuracy": 0.4}]
    assert tabular.final((1, 0)) == {"test_accuracy": 3.0}


def test_it_is_found_by_the_runner_as_a_batch_estimator(small: str) -> None:
    space = Table(IMAGES, path=small)
    tabular = Tabular(space, None, 0, dataset="toy")
    assert isinstance(tabular, BatchEstimator)
    objectives = [Objective(metric="accuracy", goal="max")]
    study = search(space, Random(space, objectives, 0), tabular, objectives, Budget(trials=9))
    assert sorted(trial.metrics["accuracy"] for trial in study.history if trial.metrics) == [0.1, 0.2, 0.3, 0.4]
    assert {trial.status for trial in study.history} == {Status.OK}


def test_the_only_dataset_need_not_be_named(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    np.savez(
        path,
        architectures=np.array([[0], [1]]),
        decision_names=np.array(["a"]),
        options=np.array('[["x", "y"]]'),
        **figures({"toy/accuracy": [0.5, 0.6]}),
    )
    assert Tabular(Table(IMAGES, path=str(path)), None, 0).metrics((1,)) == {"accuracy": 0.6}


# ---------------------------------------------------------------- bad input


def test_an_unknown_dataset_is_refused_with_those_there_are(bench: str) -> None:
    with pytest.raises(InputError, match="dataset: unknown name 'cifar1', expected one of cifar10, cifar100"):
        Tabular(CELLS, None, 0, path=bench, dataset="cifar1")


def test_another_spaces_table_is_refused(small: str) -> None:
    with pytest.raises(InputError, match=r"the first that differs is .'0->1'.* here and .'a', .'x', 'y'.. there"):
        Tabular(CELLS, None, 0, path=small, dataset="toy")


def test_a_space_without_a_table_needs_a_path() -> None:
    with pytest.raises(InputError, match="path: must name a benchmark table"):
        Tabular(CELLS, None, 0)


def test_an_unknown_hidden_figure_is_refused(small: str) -> None:
    with pytest.raises(InputError, match=r"hidden: unknown name 'test_acc'.*did you mean 'test_accuracy'"):
        Tabular(Table(IMAGES, path=small), None, 0, dataset="toy", hidden=["test_acc"])


def test_a_figure_that_is_not_a_number_is_refused_unless_it_is_hidden(small: str) -> None:
    path = rewritten(small, **{"toy/accuracy": np.array([0.1, np.nan, np.inf, 0.2])})
    space = Table(IMAGES, path=path)
    with pytest.raises(InputError, match="accuracy must be finite, got nan in row 1, one of 2 such rows"):
        Tabular(space, None, 0, dataset="toy")
    assert Tabular(space, None, 0, dataset="toy", hidden=["accuracy"]).metrics((0, 0)) == {"test_accuracy": 1.0}


@pytest.mark.parametrize("column", [np.zeros(3), np.zeros((4, 1)), np.array(["a"] * 4)])
def test_a_column_that_does_not_fit_the_rows_is_refused(small: str, column: NDArray[Any]) -> None:
    path = rewritten(small, **{"toy/accuracy": column})
    with pytest.raises(InputError, match="toy/accuracy must hold a number for each of 4 architectures"):
        Tabular(Table(IMAGES, path=path), None, 0, dataset="toy")
