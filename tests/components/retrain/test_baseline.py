from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.data_prep.stage import prepare
from components.prepared import Prepared
from components.retrain.baseline import accuracy
from components.spec import TaskSpec
from nas_core.types import Port, Signature


@pytest.fixture(scope="module")
def adult(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("adult")
    holdout = {"column": "split", "value": "test"}
    task = {"kind": "tabular", "source": {"kind": "builtin", "name": "adult"}, "target": "income"}
    prepare(TaskSpec.model_validate({**task, "split": {"test": holdout}}), 0, folder, folder)
    return Prepared.load(folder)


def test_on_adult_it_is_as_strong_as_the_literature_says(adult: Prepared) -> None:
    """Gradient-boosted trees reach about 87 % on `adult.test`."""
    found = accuracy(adult.signature, adult.arrays("train"), adult.arrays("test"), 0)
    assert 0.865 < found < 0.885


def test_the_same_seed_gives_the_same_figure(prepared: Path) -> None:
    data = Prepared.load(prepared)
    first, again = (accuracy(data.signature, data.arrays("train"), data.arrays("test"), 1) for _ in range(2))
    assert first == again > 0.9


def test_more_categories_than_the_trees_can_bin_are_taken_as_numbers() -> None:
    """Whether an index of 300 is even cannot be told by a few cuts, but that it is below 150 can."""
    index = np.arange(600) % 300
    signature = Signature(
        inputs=(Port(name="code", shape=(), dtype="int64", classes=300),),
        outputs=(Port(name="low", shape=(2,), classes=2),),
    )
    rows = ((index,), (index < 150).astype(np.int64))
    assert accuracy(signature, rows, rows, 0) == 1.0


def test_a_category_is_no_number() -> None:
    """As numbers, eight cuts would be needed; as categories, one."""
    index = np.arange(800) % 8
    target = np.isin(index, (0, 3, 5, 6)).astype(np.int64)
    signature = Signature(
        inputs=(Port(name="code", shape=(), dtype="int64", classes=8),),
        outputs=(Port(name="odd", shape=(2,), classes=2),),
    )
    assert accuracy(signature, ((index,), target), ((index,), target), 0) == 1.0
