"""The ENAS macro space for images (Pham et al. 2018): a whole network, layer by layer, with skip connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

from nas_core import space as algebra
from nas_core.spaces._gates import active_path, best_options, checked
from nas_core.spaces._graph import Edge, graph_features
from nas_core.spaces._images import check_one_image
from nas_core.spaces._options import check, check_names, is_count, names, numbers, scaled
from nas_core.types import Architecture, Decision, Live, Signature

if TYPE_CHECKING:
    from torch import Tensor, nn

Operation = Literal["conv_3x3", "conv_5x5", "sep_conv_3x3", "sep_conv_5x5", "max_pool_3x3", "avg_pool_3x3"]


_TRAITS: dict[str, tuple[int, int]] = {
    "conv_3x3": (2, 3),
    "conv_5x5": (2, 5),
    "sep_conv_3x3": (2, 3),
    "sep_conv_5x5": (2, 5),
    "max_pool_3x3": (1, 3),
    "avg_pool_3x3": (1, 3),
}
"""How many convolutions a layer puts one after another, the pointwise one included, and the width that it sees."""

_DEEPEST = 24
"""Decisions grow with the square of the depth: 24 layers have 301."""


class Macro:
    """ENAS's macro space: how many layers, an operation in each, and skip connections between any two of them.

    Each layer reads the one before it: a pointwise convolution, then its operation (Pham et al. 2018, section 2.3).
    Where skip connections end, the layer's own map and the skipped ones are put side by side and merged by a pointwise
    convolution. A third and two thirds of the way, all maps that are still read are halved, and have twice the channels
    from there on. `channels` is the width of the first layers. No two architectures are twins.

    The input is one image (c, h, w) of 8 pixels or more, the output logits (N, k) for one port of shape (k,).
    InputError for any other signature, and for options that are out of range.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        max_layers: int = 8,
        operations: Sequence[Operation] = get_args(Operation),
        channels: int = 16,
    ) -> None:
        check_one_image("macro", signature)
        check("max_layers", [max_layers], f"an integer from 1 to {_DEEPEST}", lambda v: is_count(v) and v <= _DEEPEST)
        check_names("operations", operations, get_args(Operation))
        check("channels", [channels], "an integer >= 1", is_count)
        attributes = tuple(tuple(map(float, _TRAITS[operation])) for operation in operations)
        decisions = [numbers("layers", range(1, max_layers + 1))]
        for layer in range(1, max_layers + 1):
            exists = (0, range(layer - 1, max_layers))
            decisions.append(replace(names(f"operation_{layer}", operations, exists), attributes=attributes))
            decisions += [names(f"skip_{source}_{layer}", ("no", "yes"), exists) for source in range(1, layer)]
        self._signature = signature
        self._operations = tuple(operations)
        self._channels = channels
        self._decisions = tuple(decisions)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The number of layers; for each layer its operation, and whether it reads each of the layers before it.

        An operation's attributes are how many convolutions it puts one after another, and the width that it sees.
        """
        return self._decisions

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return `architecture`: no two are twins."""
        return architecture

    def features(self, architecture: Architecture) -> Mapping[str, float]:
        """Return `layers`, and what `graph_features` tells of them: `live_skip`, operations, paths, depth and field."""
        layers = self._layers(architecture)
        edges = []
        for number, (operation, skips) in enumerate(layers, start=1):
            convolutions, extent = _TRAITS[operation]
            edges.append(Edge(number - 1, number, operation, convolutions + bool(skips), extent))
            edges += [Edge(source, number, "skip", 1) for source in skips]
        figures = graph_features(edges, [*self._operations, "skip"], sources=(0,), target=len(layers))
        del figures["identity"]  # every layer has weights
        return {"layers": float(len(layers)), **figures}

    def scaled(self, share: float) -> Macro:
        """Return the same networks with `share` of the channels; see `nas_core.interfaces.Scalable`."""
        other = copy(self)
        vars(other).update(_channels=scaled(self._channels, share))
        return other

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network of `architecture`, initialised by torch's global generator."""
        algebra.validate(self, architecture)
        return self.supernet(self.path(architecture))

    @property
    def slots(self) -> tuple[int, ...]:
        """The options of each decision."""
        return tuple(len(decision.options) for decision in self._decisions)

    def supernet(self, live: Live | None = None) -> nn.Module:
        """Return the network with all the options `live`, in which networks of all depths share their weights."""
        from nas_core.spaces._macro_supernet import macro_supernet

        live = checked(live, self.slots)
        return macro_supernet(self._signature, self._operations, self.slots, live, self._channels)

    def path(self, architecture: Architecture) -> Live:
        """Return the one option of each active decision."""
        return active_path(self, architecture)

    def derive(self, scores: Sequence[Sequence[float]]) -> Architecture:
        """Return the option of the best score of each active decision."""
        return best_options(self, scores)

    def extract(self, supernet: nn.Module, live: Live) -> dict[str, Tensor]:
        """Return the state of `supernet(live)`: the first channels of the tensors of `supernet`."""
        import torch

        from nas_core.spaces._macro_supernet import extract

        with torch.device("meta"):
            return extract(supernet, self.supernet(live))

    def _layers(self, architecture: Architecture) -> list[tuple[str, list[int]]]:
        """Return each layer's operation, and the layers, counted from 1, that skip connections lead from."""
        options = iter(architecture)
        depth = next(options) + 1
        return [
            (self._operations[next(options)], [source for source in range(1, layer) if next(options)])
            for layer in range(1, depth + 1)
        ]
