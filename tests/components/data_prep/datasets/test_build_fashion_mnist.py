from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image

from components.data_prep.datasets.build_fashion_mnist import LABELS, build
from components.sources import read
from components.spec import BuiltinSource


def test_what_ships_is_what_the_published_images_give(data: Path) -> None:
    shipped = read(BuiltinSource(kind="builtin", name="fashion-mnist"), Path())
    built = build(data / "fashion_mnist_small.npz")
    assert shipped.drop(columns="image").equals(built.drop(columns="image"))
    with np.load(data / "fashion_mnist_small.npz", allow_pickle=False) as arrays:
        expected = np.concatenate([arrays["x_train"], arrays["x_test"]])
    pixels = [np.asarray(PIL.Image.open(io.BytesIO(file))) for file in shipped["image"]]
    np.testing.assert_array_equal(pixels, expected)


def test_classes_are_balanced_in_both_parts() -> None:
    shipped = read(BuiltinSource(kind="builtin", name="fashion-mnist"), Path())
    counts = shipped.groupby(["split", "label"], observed=True).size()
    assert counts["train"].to_dict() == dict.fromkeys(LABELS, 600)
    assert counts["test"].to_dict() == dict.fromkeys(LABELS, 150)
