from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas_core.errors import InputError
from nas_core.tasks.audio import Audio
from nas_core.types import Port, Signature

ROWS, SAMPLES = 30, 60
TARGET = Port(name="label", shape=(2,), classes=2)


def signature(*inputs: Port) -> Signature:
    return Signature(inputs=inputs or (Port(name="wave", shape=(SAMPLES,)),), outputs=(TARGET,))


def task(**options: Any) -> Audio:
    """Return a task of waves with a click at sample 20."""
    waves = np.zeros((ROWS, SAMPLES), np.float32)
    waves[:, 20] = 1
    return Audio(signature(), {"train": ((waves,), np.arange(ROWS) % 2)}, **options)


def seen(made: Audio, seed: int | None) -> Tensor:
    order = None if seed is None else np.random.default_rng(seed)
    return torch.cat([waves for (waves,), _ in made.batches("train", 7, order)])


def test_without_order_waves_come_as_they_are() -> None:
    assert (seen(task(), None).argmax(dim=1) == 20).all()


def test_waves_move_by_up_to_the_share_of_their_length_and_by_every_step() -> None:
    waves = torch.cat([seen(task(shift=0.05), seed) for seed in range(10)])
    assert (waves.sum(dim=1) == 1).all()
    assert set(waves.argmax(dim=1).tolist()) == set(range(17, 24))


def test_the_shift_comes_from_the_generator_alone() -> None:
    assert torch.equal(seen(task(), 1), seen(task(), 1))
    assert not torch.equal(seen(task(), 1), seen(task(), 2))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((Port(name="image", shape=(1, 8, 8)),), r"one float32 port \(samples,\), got 'image' float32 \(1, 8, 8\)"),
        ((Port(name="text", shape=(9,), dtype="int64", classes=5),), "got 'text' int64"),
        ((), "got none"),
    ],
)
def test_ports_that_are_no_sound_are_refused(inputs: tuple[Port, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Audio(Signature(inputs=inputs, outputs=(TARGET,)), {})


def test_a_shift_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match=r"shift: must be >= 0 and <= 0.5, got 0.7"):
        task(shift=0.7)
