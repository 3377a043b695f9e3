"""Classification of images, which are moved about a little while they are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nas_core.tasks._augmentation import check_shift, flipped, shifted
from nas_core.tasks.classification import Arrays, Classification, only_port
from nas_core.types import Port, Signature

SMALLEST = 8
"""Pixels of a side, at least, of images made smaller: spaces for images take no fewer."""


class Image(Classification):
    """Images of one size: one float32 port (channels, height, width).

    Training batches are augmented: each image is moved by up to `shift` of its height and width, in whole pixels, with
    0 coming in, and with `flip` mirrored left to right or not, by a fair coin. Neither is done by default, for in short
    trainings they cost accuracy; for photographs and long ones, a shift of 1/8 and `flip` are usual. Validation rows
    stay as they are. InputError for a shift that is not in [0, 0.5].
    """

    def __init__(
        self, signature: Signature, splits: Mapping[str, Arrays], *, shift: float = 0.0, flip: bool = False
    ) -> None:
        super().__init__(signature, splits)
        check_shift(shift)
        self._shift = shift
        self._flip = flip

    def batches(
        self, split: str, size: int, order: np.random.Generator | None = None
    ) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """Yield (inputs, targets); shuffled and augmented by `order`, in stored order and as they are without it."""
        for (images,), targets in super().batches(split, size, order):
            yield (images if order is None else self._augmented(images, order),), targets

    def resized(self, share: float) -> Image:
        """Return the task with images of `share` of their height and width, `SMALLEST` pixels at least.

        A pixel is the mean of those that it takes the place of.
        """
        channels, *sides = self.signature.inputs[0].shape
        shape = (channels, *(min(side, max(SMALLEST, round(share * side))) for side in sides))
        splits = {}
        for split, ((images,), target) in self._splits.items():
            small = functional.interpolate(torch.tensor(images), shape[1:], mode="area")
            splits[split] = ((small.numpy(),), target)
        port = replace(self.signature.inputs[0], shape=shape)
        return self._with(splits, replace(self.signature, inputs=(port,)))

    def _augmented(self, images: Tensor, order: np.random.Generator) -> Tensor:
        height, width = images.shape[2:]
        moved = shifted(images, order, (int(self._shift * height), int(self._shift * width)))
        return flipped(moved, order) if self._flip else moved

    def _check_ports(self, ports: tuple[Port, ...]) -> None:
        only_port(ports, "images are one float32 port (channels, height, width)", "float32", 3)
