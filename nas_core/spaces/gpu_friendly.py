"""A preset of the hierarchical space for GPUs, which like few, wide and regular operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from nas_core.spaces._options import check, check_names, is_count
from nas_core.spaces._trunk import is_whole
from nas_core.spaces.hierarchical import Hierarchical
from nas_core.types import Signature


class GpuFriendly(Hierarchical):
    """The hierarchical space as GPUs like it: full convolutions, channels in multiples of 64, ReLU, early strides.

    A GPU's time goes into memory traffic and kernel launches rather than into multiply-accumulates. So blocks are of
    full convolutions, `residual` or `fused` (GPUNet: Wang et al. 2022), with ReLU and without gates; all channel counts
    behind the image are multiples of `multiple`, itself a multiple of 8, as tensor cores have it; and maps are halved
    as early as possible, so that most of the work has one regular shape. The other options are those of `hierarchical`.
    """

    _kind: ClassVar[str] = "gpu-friendly"
    _early: ClassVar[bool] = True

    def __init__(
        self,
        signature: Signature,
        *,
        stages: int = 3,
        depths: Sequence[int] = (1, 2, 3),
        widths: Sequence[int] = (64, 128),
        growth: float = 2.0,
        multiple: int = 64,
        kernels: Sequence[int] = (3, 5),
        expansions: Sequence[int] = (1, 2, 4),
        squeeze_excite: Sequence[float] = (0.0,),
        blocks: Sequence[Literal["residual", "fused"]] = ("residual", "fused"),
        stem_width: int = 64,
        head_width: int = 0,
        strides: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        check("multiple", [multiple], "a multiple of 8", lambda v: is_count(v) and v % 8 == 0)
        for option, width in (("stem_width", stem_width), ("head_width", head_width)):
            check(option, [width], f"a multiple of {multiple}", lambda v: is_whole(v) and v % multiple == 0)
        check_names("blocks", blocks, ("residual", "fused"))
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
            activations=("relu",),
            stem_width=stem_width,
            head_width=head_width,
            strides=strides,
            dropout=dropout,
        )
