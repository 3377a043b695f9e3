"""Networks of layers with skip connections. N is the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from itertools import islice
from operator import add, mul
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from nas_core.errors import InputError
from nas_core.spaces._cells import thirds
from nas_core.spaces._gates import checked
from nas_core.spaces._operations import OPERATIONS, Choice, FactorizedReduce, convolution, separable, stem
from nas_core.types import Signature

if TYPE_CHECKING:
    from nas_core.interfaces import Gates

_OPERATIONS: Mapping[str, Callable[[int], nn.Module]] = {
    "conv_3x3": lambda channels: convolution(channels, channels, 3),
    "conv_5x5": lambda channels: convolution(channels, channels, 5),
    "sep_conv_3x3": lambda channels: separable(channels, channels, 3),
    "sep_conv_5x5": lambda channels: separable(channels, channels, 5),
    "max_pool_3x3": lambda channels: OPERATIONS["max_pool_3x3"](channels, 1),
    "avg_pool_3x3": lambda channels: OPERATIONS["avg_pool_3x3"](channels, 1),
}


class LayerPlan(NamedTuple):
    """What a layer computes: operations, and the layers, counted from 1, that skip connections lead from.

    In a mixture each has a weight; None: 1. `plain` is the share of the layer without any skip connection.
    """

    operations: Mapping[str, Tensor | None]
    skips: Mapping[int, Tensor | None]
    plain: Tensor | None = None


class MacroLayer(nn.Module):
    """A pointwise convolution and an operation on the map before, then merged with skipped maps; all (N, c, h, w).

    A pointwise convolution of maps side by side is a sum of pointwise convolutions, one a map: `skips.j` is that of
    layer j, `own` that of the layer itself. A supernet's layer has several operations.
    """

    def __init__(self, operations: Sequence[str], skips: Sequence[int], channels: int) -> None:
        super().__init__()
        self.operation = Choice(
            {
                name: nn.Sequential(convolution(channels, channels, 1), _OPERATIONS[name](channels))
                for name in operations
            }
        )
        self.skips = nn.ModuleDict({str(source): _pointwise(channels) for source in skips})
        if skips:
            self.own = _pointwise(channels)
            self.norm = nn.BatchNorm2d(channels)

    def forward(self, before: Tensor, maps: Mapping[int, Tensor], plan: LayerPlan | None = None) -> Tensor:
        y: Tensor
        if plan is None:
            y = self.operation(before)
            skips: dict[int, Tensor | None] = {int(source): None for source in self.skips}
        else:
            operations = plan.operations.items()
            y = reduce(add, [_times(weight, self.operation[name](before)) for name, weight in operations])
            skips = dict(plan.skips)
        if not skips:
            return y
        terms = [self.own(y), *(_times(weight, self.skips[str(j)](maps[j])) for j, weight in skips.items())]
        merged: Tensor = self.norm(reduce(add, terms))
        share = None if plan is None else plan.plain
        return merged if share is None else share * y + (1 - share) * merged


def _times(weight: Tensor | None, y: Tensor) -> Tensor:
    return y if weight is None else weight * y


def _pointwise(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False))


class MacroNetwork(nn.Module):
    """Layers with skip connections: image (N, c, h, w) -> logits (N, classes).

    `layers` holds each layer's operations and the layers that it reads besides the one before, counted from 1; 0 is the
    stem. Before the layers that `thirds` names, `halvings` halves each map that is still read. With several operations
    in a layer it is a supernet of one depth, in which `gates` say what is computed: their `slots` are the decisions of
    `nas_core.spaces.macro`, whose operations are `names`.
    """

    def __init__(
        self,
        signature: Signature,
        layers: Sequence[tuple[Sequence[str], Sequence[int]]],
        channels: int,
        names: Sequence[str] = (),
        slots: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.stem = stem(signature.inputs[0].shape[0], channels)
        self.layers = nn.ModuleList()
        self.halvings = nn.ModuleDict()
        for number, (operations, skips) in enumerate(layers, start=1):
            if number - 1 in thirds(len(layers)):
                read = {number - 1, *(source for _, later in layers[number - 1 :] for source in later)}
                halvings = {str(i): FactorizedReduce(channels, 2 * channels) for i in range(number) if i in read}
                self.halvings[str(number)] = nn.ModuleDict(halvings)
                channels *= 2
            self.layers.append(MacroLayer(operations, skips, channels))
        self.head = nn.Linear(channels, signature.outputs[0].shape[0])
        self._names = tuple(names)
        self._slots = tuple(slots)

    def forward(self, image: Tensor, gates: Gates | None = None) -> Tensor:
        plans = None if gates is None else self._plans(gates)
        maps = {0: self.stem(image)}
        for number, layer in enumerate(self.layers, start=1):
            plan = None if plans is None else plans[number - 1]
            if str(number) in self.halvings:
                halvings: nn.Module = self.halvings[str(number)]
                read = (
                    None if plans is None else {number - 1, *(j for later in plans[number - 1 :] for j in later.skips)}
                )
                maps = {
                    int(source): halving(maps[int(source)])
                    for source, halving in halvings.named_children()
                    if read is None or int(source) in read
                }
            maps[number] = layer(maps[number - 1], maps, plan)
        logits: Tensor = self.head(torch.relu(maps[len(self.layers)]).mean((2, 3)))
        depth = None if gates is None else gates.weight[0]
        return logits if depth is None else depth[len(self.layers) - 1] * logits

    def _plans(self, gates: Gates) -> list[LayerPlan]:
        """Return what `gates` say of each layer; InputError if something of it is not there."""
        depth = len(self.layers)
        checked(gates.live, self._slots)
        if gates.live[0] != (depth - 1,):
            raise InputError(f"gates.live[0]: other depths than {depth} are not in this supernet; build it with them")
        slots = iter(zip(gates.live[1:], gates.weight[1:], strict=True))
        plans = [layer_plan(islice(slots, number), self._names) for number in range(1, depth + 1)]
        for number, (plan, layer) in enumerate(zip(plans, self.layers, strict=True), start=1):
            asked = {*plan.operations, *map(str, plan.skips)}
            if missing := asked - {*layer.operation, *layer.skips}:  # type: ignore[misc]
                raise InputError(
                    f"gates.live: {min(missing)} of layer {number} is not in this supernet; build it with it"
                )
        return plans


def layer_plan(slots: Iterable[tuple[Sequence[int], Tensor | None]], names: Sequence[str]) -> LayerPlan:
    """Return the plan of a layer whose slots are (live options, weight): of its operation, then of skip connections.

    Without any is how it is by the product of the weights of all that may be absent.
    """
    (options, own), *connections = slots
    operations = {names[option]: None if own is None else own[option] for option in options}
    skips: dict[int, Tensor | None] = {}
    absent: list[Tensor] | None = []
    for source, (chosen, share) in enumerate(connections, start=1):
        if 1 not in chosen:
            continue
        skips[source] = None if share is None else share[1]
        if share is None or 0 not in chosen:
            absent = None  # one is always there
        elif absent is not None:
            absent.append(share[0])
    return LayerPlan(operations, skips, reduce(mul, absent) if absent else None)
