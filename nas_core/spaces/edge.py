"""A preset of the hierarchical space for small devices: limits that every network keeps, and integer arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.spaces._options import check, check_names, is_count
from nas_core.spaces.hierarchical import Hierarchical
from nas_core.types import Architecture, Signature


class Edge(Hierarchical):
    """The hierarchical space for small devices: depthwise blocks within limits of size and work, fit for 8 bits.

    Every network has at most `max_params` parameters and needs at most `max_macs` multiply-accumulates an image; both
    are counted exactly before it is built. Blocks are `separable` or `inverted`, the `activation` is clipped or plain
    ReLU, and there are no gates unless `squeeze_excite` offers a ratio: all of it keeps its accuracy when weights and
    activations are rounded to 8 bits. The other options are those of `hierarchical`.

    InputError, besides, for limits that not even the smallest network keeps; it names that network and what it needs.
    """

    _kind: ClassVar[str] = "edge"

    def __init__(
        self,
        signature: Signature,
        *,
        max_params: int = 200_000,
        max_macs: int = 20_000_000,
        stages: int = 3,
        depths: Sequence[int] = (1, 2, 3, 4),
        widths: Sequence[int] = (8, 16, 24),
        growth: float = 2.0,
        multiple: int = 8,
        kernels: Sequence[int] = (3, 5),
        expansions: Sequence[int] = (2, 4, 6),
        squeeze_excite: Sequence[float] = (0.0,),
        blocks: Sequence[Literal["separable", "inverted"]] = ("separable", "inverted"),
        activation: Literal["relu", "relu6"] = "relu6",
        stem_width: int = 8,
        head_width: int = 64,
        strides: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        check_names("blocks", blocks, ("separable", "inverted"))
        check_names("activation", [activation], ("relu", "relu6"))
        super().__init__(
            signature,
            stages=stages,
            depths=depths,
            widths=widths,
            growth=growth,
            multiple=multiple,
            kernels=kernels,
            expansions=expansions,
            squeeze_excite=squeeze_excite,
            blocks=blocks,
            activations=(activation,),
            stem_width=stem_width,
            head_width=head_width,
            strides=strides,
            dropout=dropout,
        )
        self._max_params = max_params
        self._max_macs = max_macs
        self._check_limit("max_params", max_params, self.cost(self._least).params)
        self._check_limit("max_macs", max_macs, self.cost(self._least).macs)

    def admits(self, architecture: Architecture) -> bool:
        """Tell whether the network of `architecture` keeps both limits.

        Every decision's options are in rising order of what they cost, so replacing a zero never helps.
        """
        params, macs = self.cost(architecture)
        return params <= self._max_params and macs <= self._max_macs

    @property
    def _least(self) -> Architecture:
        return (0,) * len(self.decisions)

    def _check_limit(self, option: str, limit: int, needed: int) -> None:
        check(option, [limit], "an integer >= 1", is_count)
        if limit < needed:
            smallest = ", ".join(f"{name} {value}" for name, value in algebra.describe(self, self._least).items())
            raise InputError(
                f"{option}: must be >= {needed}, what the nearest network needs, the smallest there is ({smallest}), "
                f"got {limit}; raise the limit or offer less: depths, widths, stages, stem_width, head_width"
            )
