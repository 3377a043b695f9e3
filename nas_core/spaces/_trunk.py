"""A trunk of stages of convolutional blocks: the decisions of each stage, the blocks they mean, and what these cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from itertools import pairwise, product
from typing import Literal, get_args

from nas_core.errors import InputError
from nas_core.spaces._block_plans import Block, Cost, Kind, Size, block, cost_of, divided, squeezed, total
from nas_core.spaces._options import check, check_names, is_count, is_number, names, numbers, scaled
from nas_core.types import Architecture, Decision

Activation = Literal["relu", "relu6", "hardswish", "silu"]

SMALLEST = 4
"""Pixels that derived strides leave of an image's shorter side, at least."""

_DEPTHWISE: tuple[Kind, ...] = ("separable", "inverted")
_EXPANDING: tuple[Kind, ...] = ("inverted", "fused")


class Trunk:
    """Stages of blocks on maps of `sizes`, whose stem gives `stem_width` channels and takes the first of `strides`.

    All blocks of a stage are alike, but that the first one takes the stage's stride and changes the width. Decisions
    are in the order of `_stage`, stage by stage, and the activation of all; numbers rise, and kinds are in the order of
    `Kind`. A kind's attributes say whether it is depthwise and whether it expands.

    Derived strides halve the maps as often as leaves the shortest side `SMALLEST` pixels, as late as possible or, if
    `early`, as early. InputError for options out of range.
    """

    def __init__(
        self,
        sizes: Sequence[Size],
        *,
        stages: int,
        depths: Sequence[int],
        widths: Sequence[int],
        growth: float,
        multiple: int,
        kernels: Sequence[int],
        expansions: Sequence[int],
        squeeze_excite: Sequence[float],
        blocks: Sequence[Kind],
        activations: Sequence[Activation],
        stem_width: int,
        strides: Sequence[int],
        early: bool = False,
    ) -> None:
        check("stages", [stages], "an integer from 1 to 8", lambda v: is_count(v) and v <= 8)
        check("depths", depths, "integers >= 1", is_count)
        check("multiple", [multiple], "an integer >= 1", is_count)
        check("widths", widths, f"multiples of {multiple}", lambda v: is_count(v) and v % multiple == 0)
        check("growth", [growth], "a number from 1 to 4", lambda v: is_number(v) and 1 <= v <= 4)
        check("kernels", kernels, "odd integers >= 1", lambda v: is_count(v) and v % 2 == 1)
        check("expansions", expansions, "integers >= 1", is_count)
        check("squeeze_excite", squeeze_excite, "numbers from 0 to 1", lambda v: is_number(v) and 0 <= v <= 1)
        check("stem_width", [stem_width], "an integer >= 1", is_count)
        check_names("blocks", blocks, get_args(Kind))
        check_names("activations", activations, get_args(Activation))
        self._kinds: list[Kind] = sorted(blocks, key=get_args(Kind).index)
        self._depths = sorted(depths)
        self._widths = [[_rounded(w * growth**i, multiple) for w in sorted(widths)] for i in range(stages)]
        self._kernels = sorted(kernels)
        self._expansions = sorted(expansions)
        self._squeezes = sorted(float(ratio) for ratio in squeeze_excite)
        _check_apart(self._squeezes, {stem_width, *(width for stage in self._widths for width in stage)})
        self._activations = tuple(activations)
        self._per_stage = len(self._stage(0, 0))
        self._costs: dict[tuple[int, ...], Cost] = {}
        self.decisions = (
            *(decision for i in range(stages) for decision in self._stage(i, self._per_stage * i)),
            names("activation", activations),
        )
        self.stem_width = stem_width
        self.strides = _strides(min(map(min, sizes)), stages, strides, early=early)
        self._sizes = [[divided(size, math.prod(self.strides[: i + 1])) for size in sizes] for i in range(stages + 1)]

    def scaled(self, share: float) -> Trunk:
        """Return the trunk of the same decisions with about `share` of the channels everywhere."""
        other = copy(self)
        widths = [[scaled(width, share) for width in stage] for stage in self._widths]
        vars(other).update(_widths=widths, stem_width=scaled(self.stem_width, share), _costs={})
        return other

    def _stage(self, stage: int, place: int) -> list[Decision]:
        """Return the decisions of `stage`, the first of which is at `place`."""
        traits = tuple((float(kind in _DEPTHWISE), float(kind in _EXPANDING)) for kind in self._kinds)
        decisions = [
            replace(names(f"block_{stage + 1}", self._kinds), attributes=traits),
            numbers(f"depth_{stage + 1}", self._depths),
            numbers(f"width_{stage + 1}", self._widths[stage]),
            numbers(f"kernel_{stage + 1}", self._kernels),
            numbers(f"squeeze_{stage + 1}", self._squeezes),
        ]
        expanding = [i for i, kind in enumerate(self._kinds) if kind in _EXPANDING]
        if expanding:
            decisions.append(numbers(f"expansion_{stage + 1}", self._expansions, (place, expanding)))
        return decisions

    def activation(self, architecture: Architecture) -> Activation:
        """Return the activation of all convolutions."""
        return self._activations[architecture[len(self.decisions) - 1]]

    def depth(self, architecture: Architecture) -> int:
        """Return the number of blocks."""
        return sum(self._depths[choice[1]] for _, _, choice in self._choices(architecture))

    def width(self, architecture: Architecture) -> int:
        """Return the number of channels after the last stage."""
        return self._widths[-1][self._choices(architecture)[-1][2][2]]

    def blocks(self, architecture: Architecture) -> list[Block]:
        """Return the blocks of all stages, in order."""
        return [block for parts in self._choices(architecture) for block in self._blocks(*parts)]

    def cost(self, architecture: Architecture) -> Cost:
        """Return the cost of `blocks` on all maps; a stage's is computed once."""
        return total(self._cost(*parts) for parts in self._choices(architecture))

    @property
    def sizes(self) -> list[Size]:
        """Return the sizes of the maps that the last stage gives."""
        return self._sizes[-1]

    def _choices(self, architecture: Architecture) -> list[tuple[int, int, Architecture]]:
        """Return per stage its number, the channels that it gets, and its part of `architecture`."""
        parts = []
        before = self.stem_width
        for stage, widths in enumerate(self._widths):
            choice = architecture[stage * self._per_stage : (stage + 1) * self._per_stage]
            parts.append((stage, before, choice))
            before = widths[choice[2]]
        return parts

    def _cost(self, stage: int, before: int, choice: Architecture) -> Cost:
        key = (stage, before, *choice)
        if key not in self._costs:
            self._costs[key] = cost_of(self._blocks(stage, before, choice), self._sizes[stage])
        return self._costs[key]

    def _blocks(self, stage: int, before: int, choice: Architecture) -> list[Block]:
        kind, depth, width, kernel, squeeze, *expansion = choice
        after = self._widths[stage][width]
        return [
            block(
                self._kinds[kind],
                after if i else before,
                after,
                kernel=self._kernels[kernel],
                stride=1 if i else self.strides[stage + 1],
                expansion=self._expansions[expansion[0]] if expansion else 1,
                squeeze=self._squeezes[squeeze],
            )
            for i in range(self._depths[depth])
        ]


def _rounded(width: float, multiple: int) -> int:
    # Not round(), whose halves go to even numbers: neighbouring widths must stay distinct.
    return math.floor(width / multiple + 0.5) * multiple


def _check_apart(ratios: Sequence[float], widths: Iterable[int]) -> None:
    """Raise InputError if two `ratios` are the same gate for one of `widths`."""
    for width, (low, high) in product(sorted(widths), pairwise(ratios)):
        if low and squeezed(low, width) == squeezed(high, width):
            raise InputError(
                f"squeeze_excite: {low} and {high} of {width} channels are both {squeezed(low, width)}; "
                "choose ratios further apart, or wider stages"
            )


def _strides(shortest: int, stages: int, strides: Sequence[int], *, early: bool) -> tuple[int, ...]:
    if strides:
        if len(strides) != stages + 1 or any(stride not in {1, 2} for stride in strides):
            raise InputError(
                f"strides: must be {stages + 1} numbers, each 1 or 2, for the stem and each stage, got {strides!r}; "
                "leave it out to have them derived"
            )
        return tuple(strides)
    halvings = min(stages + 1, max(0, int(math.log2(shortest / SMALLEST))))
    rest = (1,) * (stages + 1 - halvings)
    return ((2,) * halvings + rest) if early else (rest + (2,) * halvings)


def is_whole(value: object) -> bool:
    """Tell whether `value` is an int of 0 or more."""
    return is_count(value) or (type(value) is int and value == 0)
