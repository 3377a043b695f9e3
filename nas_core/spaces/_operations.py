"""The operations of image networks. N is the batch; stride 2 halves the sides of a map (N, c, h, w), and rounds up.

Convolutions have no bias, and batch normalisation behind them: ReLU, convolution, normalisation, in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional


class Choice(nn.ModuleDict):
    """One place of a network and its operation, by name; the names are part of the keys of its state.

    A supernet has several in a place; they add up.
    """

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.values()
        y: Tensor = first(x)
        for operation in others:
            y = y + operation(x)
        return y


class FactorizedReduce(nn.Module):
    """Halves the sides of a map: (N, before, h, w) -> (N, after, h/2, w/2), rounded up; `after` is 2 or more.

    Half of the channels are pointwise convolutions of every second pixel, half of the pixels right below these.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.here = nn.Conv2d(before, after // 2, 1, bias=False)
        self.beside = nn.Conv2d(before, after - after // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        # Slices, not strides: torch 2.13 writes beyond its memory in the backward pass of a pointwise convolution with
        # stride if it has fewer than 8 channels and they come last in memory.
        here = x[:, :, ::2, ::2]
        beside = functional.pad(x, (0, 1, 0, 1))[:, :, 1::2, 1::2]
        y: Tensor = self.norm(torch.cat([self.here(here), self.beside(beside)], dim=1))
        return y


def convolution(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return ReLU, a full convolution and normalisation."""
    return nn.Sequential(nn.ReLU(), *_normalised(before, after, kernel, stride))


def separable(before: int, after: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return ReLU, a depthwise and a pointwise convolution, and normalisation."""
    padding = dilation * (kernel // 2)
    depthwise = nn.Conv2d(before, before, kernel, stride, padding, dilation, groups=before, bias=False)
    return nn.Sequential(nn.ReLU(), depthwise, *_normalised(before, after, 1))


def stem(before: int, after: int) -> nn.Sequential:
    """Return what an image first meets: a 3 x 3 convolution and normalisation."""
    return nn.Sequential(*_normalised(before, after, 3))


def _normalised(before: int, after: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    weights = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)
    return weights, nn.BatchNorm2d(after)


def _skip(channels: int, stride: int) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)


def _convolution(kernel: int, channels: int, stride: int) -> nn.Module:
    return convolution(channels, channels, kernel, stride)


def _separable_twice(kernel: int, channels: int, stride: int) -> nn.Module:
    return nn.Sequential(separable(channels, channels, kernel, stride), separable(channels, channels, kernel))


def _dilated(kernel: int, channels: int, stride: int) -> nn.Module:
    return separable(channels, channels, kernel, stride, dilation=2)


def _average(_channels: int, stride: int) -> nn.Module:
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


def _maximum(_channels: int, stride: int) -> nn.Module:
    return nn.MaxPool2d(3, stride, padding=1)


OPERATIONS: Mapping[str, Callable[[int, int], nn.Module]] = {
    "skip_connect": _skip,
    "nor_conv_1x1": partial(_convolution, 1),
    "nor_conv_3x3": partial(_convolution, 3),
    "sep_conv_3x3": partial(_separable_twice, 3),
    "sep_conv_5x5": partial(_separable_twice, 5),
    "dil_conv_3x3": partial(_dilated, 3),
    "dil_conv_5x5": partial(_dilated, 5),
    "avg_pool_3x3": _average,
    "max_pool_3x3": _maximum,
}
"""Name -> (channels, stride) -> a module that keeps the channels: those of NAS-Bench-201 and DARTS, by their names."""
