"""Convolutional blocks as plans: their layers, and what these cost, exactly and without torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["separable", "inverted", "residual", "fused"]
Size = tuple[int, int]
"""Height and width of a feature map, in pixels."""


class Cost(NamedTuple):
    """Trainable parameters, and multiply-accumulates of matrix products for one row."""

    params: int
    macs: int


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution without bias, padded to keep the size, batch normalisation, and an activation if `active`."""

    before: int
    after: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    active: bool = True

    def cost(self, sizes: Sequence[Size]) -> Cost:
        """Return the cost of giving a map of each of `sizes`, each of which has a normalisation of its own."""
        weights = self.kernel**2 * (self.before // self.groups) * self.after
        return Cost(weights + 2 * self.after * len(sizes), weights * sum(map(math.prod, sizes)))


@dataclass(frozen=True, slots=True)
class Squeeze:
    """A squeeze-and-excitation gate (Hu et al. 2018): two dense layers with bias on the mean of each channel."""

    channels: int
    squeezed: int

    def cost(self, sizes: Sequence[Size]) -> Cost:
        """Return the cost of gating a map of each of `sizes`."""
        weights = 2 * self.channels * self.squeezed
        return Cost(weights + self.squeezed + self.channels, weights * len(sizes))


@dataclass(frozen=True, slots=True)
class Block:
    """Layers one after another; with `shortcut` the input is added, with `active` the sum is activated."""

    layers: tuple[Convolution | Squeeze, ...]
    shortcut: bool = False
    active: bool = False


def block(kind: Kind, before: int, after: int, *, kernel: int, stride: int, expansion: int, squeeze: float) -> Block:
    """Return a block from `before` to `after` channels, with a shortcut where the shapes agree.

    - `separable`: depthwise, then pointwise (Howard et al. 2017)
    - `inverted`: pointwise to `expansion` times the channels, depthwise, pointwise (Sandler et al. 2018)
    - `residual`: two full convolutions (He et al. 2016)
    - `fused`: full convolution to `expansion` times the channels, pointwise (Tan and Le 2021)

    All but `residual` end without an activation. `squeeze` > 0 puts a gate where the block is widest; it has `squeeze`
    times `before` channels within, as in MnasNet (Tan et al. 2019). Other kinds have no use for `expansion`.
    """
    wide = before * expansion
    gate = {c: (Squeeze(c, squeezed(squeeze, before)),) if squeeze else () for c in (before, wide, after)}
    layers: dict[Kind, tuple[Convolution | Squeeze, ...]] = {
        "separable": (
            Convolution(before, before, kernel, stride, groups=before),
            *gate[before],
            Convolution(before, after, active=False),
        ),
        "inverted": (
            Convolution(before, wide),
            Convolution(wide, wide, kernel, stride, groups=wide),
            *gate[wide],
            Convolution(wide, after, active=False),
        ),
        "residual": (
            Convolution(before, after, kernel, stride),
            Convolution(after, after, kernel, active=False),
            *gate[after],
        ),
        "fused": (
            Convolution(before, wide, kernel, stride),
            *gate[wide],
            Convolution(wide, after, active=False),
        ),
    }
    return Block(layers[kind], shortcut=stride == 1 and before == after, active=kind == "residual")


def squeezed(ratio: float, before: int) -> int:
    """Return the channels within the gate of a block that gets `before` channels; at least one."""
    return max(1, round(ratio * before))


def cost_of(blocks: Iterable[Block], sizes: Sequence[Size]) -> Cost:
    """Return the cost of `blocks` one after another, on a map of each of `sizes`."""
    costs = []
    for layer in (layer for block in blocks for layer in block.layers):
        if isinstance(layer, Convolution):
            sizes = [divided(size, layer.stride) for size in sizes]
        costs.append(layer.cost(sizes))
    return total(costs)


def divided(size: Size, stride: int) -> Size:
    """Return what a padded convolution of `stride` leaves of `size`."""
    return math.ceil(size[0] / stride), math.ceil(size[1] / stride)


def dense(before: int, after: int) -> Cost:
    """Return the cost of a linear map with bias."""
    return Cost(before * after + after, before * after)


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum of `costs`."""
    params = macs = 0
    for cost in costs:
        params += cost.params
        macs += cost.macs
    return Cost(params, macs)
