from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.data_prep.stage import prepare
from components.prepared import Prepared
from components.retrain.baseline import baseline
from components.spec import TabularTask
from nas_core.errors import InputError
from nas_core.types import Port, Signature


@pytest.fixture(scope="module")
def adult(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("adult")
    holdout = {"column": "split", "value": "test"}
    task = {"kind": "tabular", "source": {"kind": "builtin", "name": "adult"}, "target": "income"}
    prepare(TabularTask.model_validate({**task, "split": {"test": holdout}}), 0, folder, folder)
    return Prepared.load(folder)


def test_on_adult_it_is_as_strong_as_the_literature_says(adult: Prepared) -> None:
    """Gradient-boosted trees reach about 87 % on `adult.test`."""
    found = baseline("tabular", adult.signature, adult.arrays("train"), adult.arrays("test"), 0).test_accuracy
    assert 0.865 < found < 0.885


def test_the_same_seed_gives_the_same_figure(prepared: Path) -> None:
    data = Prepared.load(prepared)
    first, again = (baseline("tabular", data.signature, data.arrays("train"), data.arrays("test"), 1) for _ in range(2))
    assert first == again
    assert first.test_accuracy > 0.9


def test_more_categories_than_the_trees_can_bin_are_taken_as_numbers() -> None:
    """Whether an index of 300 is even cannot be told by a few cuts, but that it is below 150 can."""
    index = np.arange(600) % 300
    signature = Signature(
        inputs=(Port(name="code", shape=(), dtype="int64", classes=300),),
        outputs=(Port(name="low", shape=(2,), classes=2),),
    )
    rows = ((index,), (index < 150).astype(np.int64))
    assert baseline("tabular", signature, rows, rows, 0).test_accuracy == 1.0


def test_a_category_is_no_number() -> None:
    """As numbers, eight cuts would be needed; as categories, one."""
    index = np.arange(800) % 8
    target = np.isin(index, (0, 3, 5, 6)).astype(np.int64)
    signature = Signature(
        inputs=(Port(name="code", shape=(), dtype="int64", classes=8),),
        outputs=(Port(name="odd", shape=(2,), classes=2),),
    )
    assert baseline("tabular", signature, ((index,), target), ((index,), target), 0).test_accuracy == 1.0


def one_input(port: Port, classes: int) -> Signature:
    return Signature(inputs=(port,), outputs=(Port(name="label", shape=(classes,), classes=classes),))


def test_images_are_judged_by_their_pixels(data: Path) -> None:
    """A tuned logistic regression on 6,000 of these images reaches 83 %; ten classes, so chance is 10 %."""
    with np.load(data / "fashion_mnist_small.npz", allow_pickle=False) as arrays:
        images = {split: arrays[f"x_{split}"][:, None].astype(np.float32) / 255 for split in ("train", "test")}
        labels = {split: arrays[f"y_{split}"].astype(np.int64) for split in ("train", "test")}
    train, test = (((images[split],), labels[split]) for split in ("train", "test"))
    found = baseline("image", one_input(Port(name="image", shape=(1, 28, 28)), 10), train, test, 0)
    assert found.name == "logistic regression on pixels"
    assert 0.82 < found.test_accuracy < 0.85


def test_large_images_are_made_coarser() -> None:
    """What the corners do not tell is the brightness of the whole, which is the class here."""
    target = np.arange(40) % 2
    images = np.random.default_rng(0).normal(target[:, None, None, None], 0.1, (40, 3, 96, 96)).astype(np.float32)
    signature = one_input(Port(name="image", shape=(3, 96, 96)), 2)
    assert baseline("image", signature, ((images,), target), ((images,), target), 0).test_accuracy == 1.0


def test_texts_are_judged_by_their_words_and_not_by_padding() -> None:
    """Word 2 means class 0, word 3 class 1; 0 is padding, of which class 1 has more."""
    texts = np.array([[4, 2, 5, 5], [4, 3, 5, 0]] * 20, np.int64)
    signature = one_input(Port(name="text", shape=(4,), dtype="int64", classes=6), 2)
    odd = np.array([[2, 0, 0, 0], [3, 4, 5, 5]], np.int64)
    found = baseline("text", signature, ((texts,), np.arange(40) % 2), ((odd,), np.array([0, 1])), 0)
    assert found.test_accuracy == 1.0


def test_clips_are_judged_by_the_power_in_bands(data: Path) -> None:
    """Spoken digits by many speakers: chance is 10 %, band powers tell most of them apart."""
    with np.load(data / "fsdd_small.npz", allow_pickle=False) as arrays:
        samples, offsets, labels = arrays["wave"], arrays["offsets"], arrays["label"].astype(np.int64)
    waves = np.zeros((len(labels), 8000), np.float32)
    for wave, start, end in zip(waves, offsets[:-1], offsets[1:], strict=True):
        clip = samples[start:end][:8000]
        wave[: len(clip)] = clip / 32768
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = (((waves[rows],), labels[rows]) for rows in (order[:450], order[450:]))
    found = baseline("audio", one_input(Port(name="audio", shape=(8000,)), 10), train, test, 0)
    assert 0.85 < found.test_accuracy < 0.97


def test_a_kind_of_task_without_a_baseline_is_refused() -> None:
    rows = ((np.zeros((2, 3), np.float32),), np.array([0, 1]))
    with pytest.raises(InputError, match=r"task\.kind: unknown name 'video'"):
        baseline("video", one_input(Port(name="x", shape=(3,)), 2), rows, rows, 0)
