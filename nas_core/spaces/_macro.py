"""Networks of layers with skip connections. N is the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from nas_core.spaces._cells import thirds
from nas_core.spaces._operations import OPERATIONS, Choice, FactorizedReduce, convolution, separable, stem
from nas_core.types import Signature

_OPERATIONS: Mapping[str, Callable[[int], nn.Module]] = {
    "conv_3x3": lambda channels: convolution(channels, channels, 3),
    "conv_5x5": lambda channels: convolution(channels, channels, 5),
    "sep_conv_3x3": lambda channels: separable(channels, channels, 3),
    "sep_conv_5x5": lambda channels: separable(channels, channels, 5),
    "max_pool_3x3": lambda channels: OPERATIONS["max_pool_3x3"](channels, 1),
    "avg_pool_3x3": lambda channels: OPERATIONS["avg_pool_3x3"](channels, 1),
}


class MacroLayer(nn.Module):
    """A pointwise convolution and an operation on the map before, then merged with skipped maps; all (N, c, h, w).

    A pointwise convolution of maps side by side is a sum of pointwise convolutions, one a map: `skips.j` is that of
    layer j, `own` that of the layer itself.
    """

    def __init__(self, operation: str, skips: Sequence[int], channels: int) -> None:
        super().__init__()
        body = nn.Sequential(convolution(channels, channels, 1), _OPERATIONS[operation](channels))
        self.operation = Choice(operation, body)
        self.skips = nn.ModuleDict({str(source): _pointwise(channels) for source in skips})
        if skips:
            self.own = _pointwise(channels)
            self.norm = nn.BatchNorm2d(channels)

    def forward(self, before: Tensor, maps: Mapping[int, Tensor]) -> Tensor:
        y: Tensor = self.operation(before)
        if self.skips:
            terms = [self.own(y), *(skip(maps[int(source)]) for source, skip in self.skips.items())]
            y = self.norm(reduce(add, terms))
        return y


def _pointwise(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False))


class MacroNetwork(nn.Module):
    """Layers with skip connections: image (N, c, h, w) -> logits (N, classes).

    `layers` holds each layer's operation and the layers that it reads besides the one before, counted from 1; 0 is the
    stem. Before the layers that `thirds` names, `halvings` halves each map that is still read.
    """

    def __init__(self, signature: Signature, layers: Sequence[tuple[str, Sequence[int]]], channels: int) -> None:
        super().__init__()
        self.stem = stem(signature.inputs[0].shape[0], channels)
        self.layers = nn.ModuleList()
        self.halvings = nn.ModuleDict()
        for number, (operation, skips) in enumerate(layers, start=1):
            if number - 1 in thirds(len(layers)):
                read = {number - 1, *(source for _, later in layers[number - 1 :] for source in later)}
                halvings = {str(i): FactorizedReduce(channels, 2 * channels) for i in range(number) if i in read}
                self.halvings[str(number)] = nn.ModuleDict(halvings)
                channels *= 2
            self.layers.append(MacroLayer(operation, skips, channels))
        self.head = nn.Linear(channels, signature.outputs[0].shape[0])

    def forward(self, image: Tensor) -> Tensor:
        maps = {0: self.stem(image)}
        for number, layer in enumerate(self.layers, start=1):
            if str(number) in self.halvings:
                halvings: nn.Module = self.halvings[str(number)]
                maps = {int(source): halving(maps[int(source)]) for source, halving in halvings.named_children()}
            maps[number] = layer(maps[number - 1], maps)
        logits: Tensor = self.head(torch.relu(maps[len(self.layers)]).mean((2, 3)))
        return logits
