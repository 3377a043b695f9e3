from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas_core.errors import InputError
from nas_core.tasks.image import Image
from nas_core.types import Port, Signature

ROWS, HEIGHT, WIDTH = 40, 8, 16
TARGET = Port(name="label", shape=(2,), classes=2)


def signature(*inputs: Port) -> Signature:
    return Signature(inputs=inputs or (Port(name="image", shape=(2, HEIGHT, WIDTH)),), outputs=(TARGET,))


def task(shift: float = 0.125, **options: Any) -> Image:
    """Return a task whose image i is i + 1 everywhere in one channel, and has one bright dot in the other."""
    images = np.zeros((ROWS, 2, HEIGHT, WIDTH), np.float32)
    images[:, 0] = np.arange(1, ROWS + 1)[:, None, None]
    images[:, 1, 4, 5] = 1
    return Image(signature(), {"train": ((images,), np.arange(ROWS) % 2)}, shift=shift, **options)


def seen(made: Image, seed: int | None, size: int = 7) -> Tensor:
    order = None if seed is None else np.random.default_rng(seed)
    return torch.cat([images for (images,), _ in made.batches("train", size, order)])


def dots(images: Tensor) -> Iterator[tuple[int, int]]:
    for image in images[:, 1]:
        (place,) = image.nonzero().tolist()
        yield place[0], place[1]


def test_without_order_images_come_as_they_are() -> None:
    assert set(dots(seen(task(flip=True), None))) == {(4, 5)}


def test_images_move_by_up_to_the_share_of_their_size_and_by_every_step() -> None:
    places = {place for seed in range(30) for place in dots(seen(task(), seed))}
    assert places == {(4 + down, 5 + right) for down in range(-1, 2) for right in range(-2, 3)}


def test_what_comes_in_is_zero_and_the_rest_is_kept() -> None:
    for image in seen(task(), 0)[:, 0]:
        values = image.unique().tolist()
        number = values[-1]
        down, right = (torch.nonzero(image.sum(dim=axis) == 0).numel() for axis in (1, 0))
        assert set(values) <= {0.0, number}
        assert (image == number).sum() == (HEIGHT - down) * (WIDTH - right)


def test_every_image_keeps_its_class() -> None:
    for (images,), (classes,) in task().batches("train", 7, np.random.default_rng(0)):
        assert torch.equal((images[:, 0].amax((1, 2)).long() - 1) % 2, classes)


def test_augmentation_comes_from_its_generator_alone() -> None:
    assert torch.equal(seen(task(flip=True), 1), seen(task(flip=True), 1))
    assert not torch.equal(seen(task(), 1), seen(task(), 2))


def test_the_stored_images_are_left_alone() -> None:
    made = task(flip=True)
    before = seen(made, None)
    seen(made, 0)
    assert torch.equal(seen(made, None), before)


def test_half_of_the_images_are_mirrored_if_it_is_asked_for() -> None:
    assert set(dots(seen(task(shift=0), 0))) == {(4, 5)}
    counts = [list(dots(seen(task(shift=0, flip=True), seed))).count((4, WIDTH - 6)) for seed in range(10)]
    # 400 fair coins: beyond 5 standard deviations once in two million
    assert abs(sum(counts) - 200) < 5 * math.sqrt(400) / 2


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            (Port(name="pixels", shape=(64,)),),
            r"one float32 port \(channels, height, width\), got 'pixels' float32 \(64,\)",
        ),
        ((Port(name="image", shape=(3, -1, 8)),), r"got 'image' float32 \(3, -1, 8\)"),
        ((Port(name="image", shape=(3, 8, 8), dtype="int64", classes=256),), "got 'image' int64"),
        ((Port(name="image", shape=(3, 8, 8)),) * 2, "images are one"),
    ],
)
def test_ports_that_are_no_image_are_refused(inputs: tuple[Port, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Image(signature(*inputs), {})


@pytest.mark.parametrize("shift", [-0.1, 0.6, math.nan])
def test_a_shift_out_of_range_is_refused(shift: float) -> None:
    with pytest.raises(InputError, match=f"shift: must be >= 0 and <= 0.5, got {shift}"):
        task(shift=shift)


def test_smaller_images_are_means_of_their_pixels_and_of_the_same_class() -> None:
    images = np.random.default_rng(0).normal(size=(6, 2, 32, 16)).astype(np.float32)
    rows = {"train": ((images,), np.arange(6) % 2), "validation": ((images[:3],), np.arange(3) % 2)}
    made = Image(signature(Port(name="image", shape=(2, 32, 16))), rows, shift=0.0)
    small = made.resized(0.5)
    assert small.signature.inputs[0].shape == (2, 16, 8)
    [((found,), (classes,))] = small.batches("validation", 9)
    np.testing.assert_allclose(found.numpy(), images[:3].reshape(3, 2, 16, 2, 8, 2).mean((3, 5)), atol=1e-6)
    assert classes.tolist() == [0, 1, 0]
    assert made.signature.inputs[0].shape == (2, 32, 16), "the task itself stays as it is"


def test_images_are_not_made_smaller_than_spaces_take() -> None:
    assert task().resized(0.01).signature.inputs[0].shape == (2, 8, 8)


def test_smaller_images_are_augmented_as_the_others_are() -> None:
    assert {4, 5, 6} >= {x for _, x in dots(seen(task(shift=0.0).resized(1.0), 0))} == {5}
    assert len({x for _, x in dots(seen(task(shift=0.125).resized(1.0), 0))}) == 5
