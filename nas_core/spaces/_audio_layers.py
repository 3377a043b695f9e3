"""The modules that audio networks are made of, over time alone or over bands and time. N is the batch.

Maps are (N, channels, frames) in one dimension, where the bands of the spectrogram are the first channels, and
(N, channels, bands, frames) in two, where the spectrogram is an image of one channel. Every convolution is followed by
batch normalisation, and a stride of s leaves 1/s of each size, rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nas_core.spaces._log_mel import LogMel

_CONVOLUTION: dict[int, type[nn.Conv1d] | type[nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}
_NORMALISATION: dict[int, type[nn.BatchNorm1d] | type[nn.BatchNorm2d]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
_POOLS: dict[str, Sequence[Callable[..., Tensor]]] = {
    "mean": [torch.mean],
    "max": [torch.amax],
    "both": [torch.mean, torch.amax],
}


class Plan(NamedTuple):
    """A block: its kind, number of channels, kernel and stride."""

    kind: str
    width: int
    kernel: int
    stride: int


class Residual(nn.Module):
    """Two convolutions with a shortcut, ReLU after each (He et al. 2016, "Deep residual learning").

    The shortcut is the identity where nothing changes in shape, a convolution of kernel 1 elsewhere.
    """

    def __init__(self, dimensions: int, before: int, plan: Plan) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(dimensions, before, plan.width, plan.kernel, plan.stride),
            nn.ReLU(),
            _convolution(dimensions, plan.width, plan.width, plan.kernel),
        )
        same = before == plan.width and plan.stride == 1
        self.shortcut = nn.Identity() if same else _convolution(dimensions, before, plan.width, 1, plan.stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layers(x) + self.shortcut(x))


def _block(dimensions: int, before: int, plan: Plan) -> nn.Module:
    """Return one convolution, or one of each channel for itself and a mix of them (MobileNet: Howard et al. 2017)."""
    if plan.kind == "residual":
        return Residual(dimensions, before, plan)
    if plan.kind == "plain":
        return nn.Sequential(_convolution(dimensions, before, plan.width, plan.kernel, plan.stride), nn.ReLU())
    return nn.Sequential(
        _convolution(dimensions, before, before, plan.kernel, plan.stride, groups=before),
        nn.ReLU(),
        _convolution(dimensions, before, plan.width, 1),
        nn.ReLU(),
    )


def _convolution(dimensions: int, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    made = _CONVOLUTION[dimensions](before, after, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(made, _NORMALISATION[dimensions](after))


def chain(dimensions: int, bands: int, plans: Sequence[Plan]) -> tuple[nn.Sequential, int]:
    """Return blocks from a spectrogram (N, bands, frames) to features over time (N, k, frames'), and k.

    In two dimensions, features are channels by what is left of the bands: a pattern means something else in another
    band.
    """
    blocks: list[nn.Module] = []
    width, height = (bands, 1) if dimensions == 1 else (1, bands)
    for plan in plans:
        blocks.append(_block(dimensions, width, plan))
        width, height = plan.width, math.ceil(height / plan.stride)
    if dimensions == 2:
        blocks = [nn.Unflatten(1, (1, bands)), *blocks, nn.Flatten(1, 2)]
    return nn.Sequential(*blocks), width * height


class AudioNetwork(nn.Module):
    """Spectrogram, blocks, pooling over time and a linear head: waves (N, samples) -> logits (N, classes).

    Before the first block each band is standardised, over all clips (`batch`) or over each clip's own time (`clip`:
    Viikki and Laurila 1998), which takes away what a voice or a microphone does to all of a clip.
    """

    def __init__(
        self,
        front: LogMel,
        blocks: nn.Sequential,
        features: int,
        *,
        normalisation: str,
        pooling: str,
        dropout: float,
        classes: int,
    ) -> None:
        super().__init__()
        bands = front.filters.shape[0]
        self.front = front
        self.normalisation = (
            nn.BatchNorm1d(bands) if normalisation == "batch" else nn.InstanceNorm1d(bands, affine=True)
        )
        self.blocks = blocks
        self.pools = _POOLS[pooling]
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features * len(self.pools), classes))

    def forward(self, wave: Tensor) -> Tensor:
        x = self.blocks(self.normalisation(self.front(wave)))
        logits: Tensor = self.head(torch.cat([pool(x, dim=2) for pool in self.pools], dim=1))
        return logits
