"""The hierarchical space for images: stages, each with a depth, width, kernel and kind of block of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, ClassVar

from nas_core import space as algebra
from nas_core.spaces._block_plans import Block, Convolution, Cost, Kind, cost_of, dense, total
from nas_core.spaces._images import check_one_image
from nas_core.spaces._options import check, is_number, scaled
from nas_core.spaces._trunk import Activation, Trunk, is_whole
from nas_core.types import Architecture, Decision, Signature

if TYPE_CHECKING:
    from torch import nn


class Hierarchical:
    """Stages of blocks for images, each stage with its own kind of block, depth, width, kernel, expansion and gate.

    As in MnasNet (Tan et al. 2019) all blocks of a stage are alike; depth, width, kernel and expansion are what
    Once-for-All (Cai et al. 2020) chooses. Before the stages is a 3 x 3 convolution of `stem_width` channels; behind
    them a pointwise one of `head_width` channels (0: none), the mean over pixels, dropout and a linear classifier. No
    two architectures are twins, as long as no kernel reaches beyond a whole map.

    `blocks` are of the kinds `separable` (depthwise), `inverted` (that of MobileNetV2), `residual` (that of ResNet:
    two full convolutions) and `fused` (`inverted` with a full convolution); only `inverted` and `fused` have one of
    the `expansions`. A `squeeze_excite` ratio of 0 is no gate. `widths` are the choices of the first stage; each later
    one has `growth` times those of the stage before, rounded to a `multiple`. `strides`, 1 or 2 for the stem and each
    stage, are derived from the size of the images if left out: they leave 4 to 7 pixels, or more where stages are few.

    The input is one float32 port (channels, height, width) of 8 pixels or more a side, the output logits (N, c) for one
    port (c,). InputError for any other signature, and for options that are out of range.
    """

    _kind: ClassVar[str] = "hierarchical"
    _early: ClassVar[bool] = False
    """Whether derived strides come as early as possible."""

    def __init__(
        self,
        signature: Signature,
        *,
        stages: int = 3,
        depths: Sequence[int] = (1, 2, 3),
        widths: Sequence[int] = (16, 24, 32),
        growth: float = 2.0,
        multiple: int = 8,
        kernels: Sequence[int] = (3, 5),
        expansions: Sequence[int] = (2, 3, 4),
        squeeze_excite: Sequence[float] = (0.0, 0.25),
        blocks: Sequence[Kind] = ("separable", "inverted", "residual", "fused"),
        activations: Sequence[Activation] = ("relu", "silu"),
        stem_width: int = 16,
        head_width: int = 128,
        strides: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        check_one_image(self._kind, signature)
        check("head_width", [head_width], "an integer >= 0", is_whole)
        check("dropout", [dropout], "a number >= 0 and < 1", lambda v: is_number(v) and 0 <= v < 1)
        channels, *size = signature.inputs[0].shape
        self._trunk = Trunk(
            [(size[0], size[1])],
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
            early=self._early,
        )
        self._image = (channels, size[0], size[1])
        self._stem, self._stem_cost = _stem(self._image, self._trunk)
        self._head_width = head_width
        self._classes = signature.outputs[0].shape[0]
        self._dropout = dropout

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Kind of block, depth, width, kernel, gate and expansion of each stage, and the activation of all."""
        return self._trunk.decisions

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return `architecture` itself: there are no twins."""
        return architecture

    def features(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the number of `blocks`, and the logarithms of `params` and `macs`."""
        cost = self.cost(architecture)
        return {
            "blocks": float(self._trunk.depth(architecture)),
            "log_params": math.log(cost.params),
            "log_macs": math.log(cost.macs),
        }

    def cost(self, architecture: Architecture) -> Cost:
        """Return what the network of `architecture` costs, exactly and without building it."""
        head, features = self._head(architecture)
        behind = (cost_of(head, self._trunk.sizes), dense(features, self._classes))
        return total((self._stem_cost, self._trunk.cost(architecture), *behind))

    def scaled(self, share: float) -> Hierarchical:
        """Return the same stages with `share` of the channels; see `nas_core.interfaces.Scalable`."""
        trunk = self._trunk.scaled(share)
        stem, cost = _stem(self._image, trunk)
        head = self._head_width and scaled(self._head_width, share)
        other = copy(self)
        vars(other).update(_trunk=trunk, _stem=stem, _stem_cost=cost, _head_width=head)
        return other

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network of `architecture`, initialised by torch's global generator."""
        from nas_core.spaces._blocks import Blocks, Classifier, Head

        algebra.validate(self, architecture)
        last, features = self._head(architecture)
        activation = self._trunk.activation(architecture)
        blocks = Blocks([self._stem, *self._trunk.blocks(architecture), *last], activation)
        head = Head(features, (), self._classes, pooling="mean", activation=activation, dropout=self._dropout)
        return Classifier(blocks, head)

    def _head(self, architecture: Architecture) -> tuple[list[Block], int]:
        """Return the blocks behind the stages, and the channels that come out of them."""
        width = self._trunk.width(architecture)
        if not self._head_width:
            return [], width
        return [Block((Convolution(width, self._head_width),))], self._head_width


def _stem(image: tuple[int, int, int], trunk: Trunk) -> tuple[Block, Cost]:
    """Return the convolution before the stages of `trunk` for an image (channels, height, width), and its cost."""
    channels, height, width = image
    stem = Block((Convolution(channels, trunk.stem_width, 3, trunk.strides[0]),))
    return stem, cost_of([stem], [(height, width)])
