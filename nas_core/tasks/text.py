"""Classification of texts, of which some words are made unknown while they are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from nas_core.errors import InputError
from nas_core.tasks.classification import Arrays, Classification, only_port
from nas_core.types import Port, Signature

PADDING, UNKNOWN = 0, 1
"""What the first two indices of every vocabulary mean."""


class Text(Classification):
    """Texts as indices of tokens: one int64 port (length,), whose classes are the vocabulary; 0 pads, 1 is unknown.

    Each token of a training batch is made unknown with probability `word_dropout` (Iyyer et al. 2015), so that no text
    hangs on one word, and what is unknown has been seen. Validation rows stay as they are. InputError for a probability
    that is not in [0, 1).
    """

    def __init__(self, signature: Signature, splits: Mapping[str, Arrays], *, word_dropout: float = 0.1) -> None:
        super().__init__(signature, splits)
        if not 0 <= word_dropout < 1:
            raise InputError(f"word_dropout: must be >= 0 and < 1, got {word_dropout}")
        self._word_dropout = word_dropout

    def batches(
        self, split: str, size: int, order: np.random.Generator | None = None
    ) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """Yield (inputs, targets); shuffled and augmented by `order`, in stored order and as they are without it."""
        for (tokens,), targets in super().batches(split, size, order):
            yield (tokens if order is None else self._augmented(tokens, order),), targets

    def _augmented(self, tokens: Tensor, order: np.random.Generator) -> Tensor:
        dropped = torch.from_numpy(order.random(tokens.shape) < self._word_dropout)
        return tokens.masked_fill(dropped & (tokens != PADDING), UNKNOWN)

    def _check_ports(self, ports: tuple[Port, ...]) -> None:
        port = only_port(ports, "texts are one int64 port (length,) that says its vocabulary", "int64", 1)
        if port.classes <= UNKNOWN:
            raise InputError(f"task: a vocabulary holds padding and unknown at least, got {port.classes} classes")
