"""Changes of training rows that leave their class as it is. What is drawn is a function of the generator alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nas_core.errors import InputError


def check_shift(shift: float) -> None:
    """Raise InputError unless `shift` is a share of a row that leaves half of it in sight."""
    if not 0 <= shift <= 0.5:
        raise InputError(f"shift: must be >= 0 and <= 0.5, got {shift}")


def shifted(x: Tensor, order: np.random.Generator, most: tuple[int, ...]) -> Tensor:
    """Return x (N, ..., *sizes) with each row moved along its last axes by up to `most`; what comes in is 0.

    How far is drawn for every row and axis, uniformly from -most to most.
    """
    for axis, reach in enumerate(most, start=x.dim() - len(most)):
        start = torch.from_numpy(order.integers(0, 2 * reach + 1, len(x)))
        place = start[:, None] + torch.arange(x.shape[axis])
        place = place.view(len(x), *(-1 if i == axis else 1 for i in range(1, x.dim())))
        edge = torch.zeros_like(x.narrow(axis, 0, reach))
        x = torch.cat([edge, x, edge], dim=axis).gather(axis, place.expand_as(x))
    return x


def flipped(x: Tensor, order: np.random.Generator) -> Tensor:
    """Return x (N, ..., width) with about half of the rows, drawn by a fair coin, mirrored along the last axis."""
    coin = torch.from_numpy(order.integers(0, 2, len(x)) == 1)
    return torch.where(coin.view(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)
