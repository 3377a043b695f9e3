"""The multi-task space for images: one trunk that all tasks share, and a head of its own for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, get_args

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.spaces._block_plans import Block, Convolution, Cost, Kind, Size, cost_of, dense, divided, total
from nas_core.spaces._images import check_one_image
from nas_core.spaces._options import check, check_names, is_count, is_number, names, numbers
from nas_core.spaces._trunk import Activation, Trunk, is_whole
from nas_core.types import Architecture, Decision, Signature

if TYPE_CHECKING:
    from torch import nn

Pooling = Literal["mean", "max", "both"]


class _Heads:
    """The choices that every head has: its pooling, how many dense layers, and how wide."""

    def __init__(self, poolings: Sequence[Pooling], depths: Sequence[int], widths: Sequence[int]) -> None:
        check_names("poolings", poolings, get_args(Pooling))
        check("head_depths", depths, "integers >= 0", is_whole)
        check("head_widths", widths, "integers >= 1", is_count)
        self._poolings = tuple(poolings)
        self._depths = sorted(depths)
        self._widths = sorted(widths)

    def decisions(self, output: str, place: int) -> list[Decision]:
        """Return the decisions of the head for `output`, the first of which is at `place`."""
        decisions = [names(f"pooling_{output}", self._poolings), numbers(f"head_depth_{output}", self._depths)]
        if deep := [i for i, depth in enumerate(self._depths) if depth]:
            decisions.append(numbers(f"head_width_{output}", self._widths, (place + 1, deep)))
        return decisions

    def pooling(self, choice: Architecture) -> Pooling:
        """Return how the head pools each channel."""
        return self._poolings[choice[0]]

    def widths(self, choice: Architecture) -> list[int]:
        """Return the widths of the head's dense layers."""
        return self._depths[choice[1]] * [self._widths[width] for width in choice[2:]]

    def cost(self, choice: Architecture, channels: int, classes: int) -> Cost:
        """Return what the head costs on a map of `channels`."""
        features = channels * (2 if self.pooling(choice) == "both" else 1)
        return total(dense(*pair) for pair in pairwise([features, *self.widths(choice), classes]))


class MultiTask:
    """One searched trunk of stages for several image tasks, and a searched head for each of them.

    Task i reads input i and answers output i. A small fixed stem brings each input, of whatever channels and size, to
    `stem_width` channels and about the size of the smallest; it halves a map once for each power of 2 that it is
    larger. The trunk is that of the space `hierarchical`, with the same options; tasks share its convolutions and have
    batch normalisations of their own (Bilen and Vedaldi 2017), because their statistics differ. A head pools each
    channel (`mean`, `max`, or `both` side by side), then come `head_depths` dense layers of one of the `head_widths`,
    dropout, and a linear classifier. No two architectures are twins, as long as no kernel reaches beyond a whole map.

    Inputs are two or more float32 ports (channels, height, width), outputs as many ports (classes,); networks give a
    tuple of logits (N, classes). InputError for any other signature, and for options that are out of range.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        stages: int = 3,
        depths: Sequence[int] = (1, 2),
        widths: Sequence[int] = (16, 24, 32),
        growth: float = 1.5,
        multiple: int = 8,
        kernels: Sequence[int] = (3, 5),
        expansions: Sequence[int] = (2, 4),
        squeeze_excite: Sequence[float] = (0.0, 0.25),
        blocks: Sequence[Kind] = ("separable", "inverted", "residual"),
        activations: Sequence[Activation] = ("relu", "silu"),
        stem_width: int = 16,
        head_depths: Sequence[int] = (0, 1, 2),
        head_widths: Sequence[int] = (32, 64, 128),
        poolings: Sequence[Pooling] = ("mean", "max", "both"),
        strides: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        _check_signature(signature)
        check("dropout", [dropout], "a number >= 0 and < 1", lambda v: is_number(v) and 0 <= v < 1)
        sizes: list[Size] = [(port.shape[1], port.shape[2]) for port in signature.inputs]
        halvings = [round(math.log2(min(size) / min(map(min, sizes)))) for size in sizes]
        self._trunk = Trunk(
            [divided(size, 2**n) for size, n in zip(sizes, halvings, strict=True)],
            stages=stages,
            depths=depths,
            widths=widths,
            growth=growth,
            multiple=multiple,
            kernels=kernels,
            expansions=expansions,
            squeeze_excite=squeeze_excite,
            blocks=blocks,
            activations=activations,
            stem_width=stem_width,
            strides=strides,
        )
        self._stems = [
            _stem(port.shape[0], stem_width, (*(2,) * n, self._trunk.strides[0]))
            for port, n in zip(signature.inputs, halvings, strict=True)
        ]
        self._stem_cost = total(cost_of([stem], [size]) for stem, size in zip(self._stems, sizes, strict=True))
        self._heads = _Heads(poolings, head_depths, head_widths)
        self._classes = [port.shape[0] for port in signature.outputs]
        self._dropout = dropout
        decisions = [*self._trunk.decisions]
        for port in signature.outputs:
            decisions += self._heads.decisions(port.name, len(decisions))
        self._decisions = tuple(decisions)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Those of the trunk, and per output the pooling, depth and width of its head."""
        return self._decisions

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return `architecture` itself: there are no twins."""
        return architecture

    def features(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the number of `blocks` in the trunk, and the logarithms of `params` and `macs` of the network."""
        cost = self.cost(architecture)
        return {
            "blocks": float(self._trunk.depth(architecture)),
            "log_params": math.log(cost.params),
            "log_macs": math.log(cost.macs),
        }

    def cost(self, architecture: Architecture) -> Cost:
        """Return what the network of `architecture` costs for a row of all tasks, exactly and without building it."""
        width = self._trunk.width(architecture)
        choices = zip(self._head_choices(architecture), self._classes, strict=True)
        heads = (self._heads.cost(choice, width, classes) for choice, classes in choices)
        return total((self._stem_cost, self._trunk.cost(architecture), *heads))

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network of `architecture`, initialised by torch's global generator."""
        from nas_core.spaces._blocks import Blocks, Head, MultiTaskClassifier

        algebra.validate(self, architecture)
        activation = self._trunk.activation(architecture)
        return MultiTaskClassifier(
            [Blocks([stem], activation) for stem in self._stems],
            Blocks(self._trunk.blocks(architecture), activation, tasks=len(self._stems)),
            [
                Head(
                    self._trunk.width(architecture),
                    self._heads.widths(choice),
                    classes,
                    pooling=self._heads.pooling(choice),
                    activation=activation,
                    dropout=self._dropout,
                )
                for choice, classes in zip(self._head_choices(architecture), self._classes, strict=True)
            ],
        )

    def _head_choices(self, architecture: Architecture) -> list[Architecture]:
        """Return the part of `architecture` that each head has."""
        behind = architecture[len(self._trunk.decisions) :]
        each = len(behind) // len(self._classes)
        return [behind[start : start + each] for start in range(0, len(behind), each)]


def _stem(channels: int, width: int, strides: Sequence[int]) -> Block:
    """Return a 3 x 3 convolution per stride, the first one from `channels`, all to `width` channels."""
    before = [channels] + [width] * (len(strides) - 1)
    return Block(tuple(Convolution(b, width, 3, stride) for b, stride in zip(before, strides, strict=True)))


def _check_signature(signature: Signature) -> None:
    inputs, outputs = signature.inputs, signature.outputs
    if len(inputs) != len(outputs) or len(inputs) < 2:
        raise InputError(
            f"multi-task: needs an image and a target for each of two or more tasks, got {len(inputs)} inputs and "
            f"{len(outputs)} outputs; for one task choose the space hierarchical"
        )
    if len({port.name for port in outputs}) < len(outputs):
        raise InputError(f"multi-task: outputs need distinct names, got {', '.join(port.name for port in outputs)}")
    for image, target in zip(inputs, outputs, strict=True):
        check_one_image(f"multi-task, {image.name} and {target.name}", Signature(inputs=(image,), outputs=(target,)))
