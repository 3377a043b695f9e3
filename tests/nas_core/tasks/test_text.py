from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas_core.errors import InputError
from nas_core.tasks.text import PADDING, UNKNOWN, Text
from nas_core.types import Port, Signature

ROWS, LENGTH = 50, 20
TARGET = Port(name="label", shape=(2,), classes=2)


def signature(*inputs: Port) -> Signature:
    port = Port(name="text", shape=(LENGTH,), dtype="int64", classes=100)
    return Signature(inputs=inputs or (port,), outputs=(TARGET,))


def task(**options: Any) -> Text:
    """Return a task of texts of ten tokens, all beyond `UNKNOWN`, and ten of padding."""
    tokens = np.random.default_rng(0).integers(2, 100, (ROWS, LENGTH))
    tokens[:, 10:] = PADDING
    return Text(signature(), {"train": ((tokens,), np.arange(ROWS) % 2)}, **options)


def seen(made: Text, seed: int | None) -> Tensor:
    order = None if seed is None else np.random.default_rng(seed)
    return torch.cat([tokens for (tokens,), _ in made.batches("train", 7, order)])


def test_without_order_no_word_is_dropped() -> None:
    assert (seen(task(word_dropout=0.9), None) != UNKNOWN).all()


def test_the_share_of_tokens_that_becomes_unknown_is_the_option() -> None:
    found = torch.cat([seen(task(word_dropout=0.3), seed) for seed in range(20)])[:, :10]
    # 10,000 coins: beyond 5 standard deviations once in two million
    assert (found == UNKNOWN).double().mean().item() == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / 10_000))


def test_padding_stays_padding_and_other_tokens_stay_as_they_are() -> None:
    made = task(word_dropout=0.5)
    plain = {tuple(row) for row in seen(made, None).tolist()}
    for row in seen(made, 0):
        assert (row[10:] == PADDING).all()
        kept = row != UNKNOWN
        assert any(all(torch.tensor(text)[kept] == row[kept]) for text in plain)


def test_dropped_words_come_from_the_generator_alone() -> None:
    assert torch.equal(seen(task(), 1), seen(task(), 1))
    assert not torch.equal(seen(task(), 1).sort().values, seen(task(), 2).sort().values)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            (Port(name="colour", shape=(), dtype="int64", classes=9),),
            r"one int64 port \(length,\).*got 'colour' int64 \(\)",
        ),
        ((Port(name="text", shape=(9,), dtype="int64"),), "of 0 classes"),
        ((Port(name="text", shape=(9,)),), "got 'text' float32"),
        ((Port(name="text", shape=(9,), dtype="int64", classes=1),), "padding and unknown at least, got 1"),
    ],
)
def test_ports_that_are_no_text_are_refused(inputs: tuple[Port, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Text(signature(*inputs), {})


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_word_dropout_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=f"word_dropout: must be >= 0 and < 1, got {share}"):
        task(word_dropout=share)
