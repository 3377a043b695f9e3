"""Classification of sounds, which are moved in time a little while they are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from torch import Tensor

from nas_core.tasks._augmentation import check_shift, shifted
from nas_core.tasks.classification import Arrays, Classification, only_port
from nas_core.types import Port, Signature


class Audio(Classification):
    """Waves of one length, as sampled, in [-1, 1]: one float32 port (samples,).

    Each wave of a training batch is moved in time by up to `shift` of its length, with silence coming in. Validation
    rows stay as they are. InputError for a shift that is not in [0, 0.5].
    """

    def __init__(self, signature: Signature, splits: Mapping[str, Arrays], *, shift: float = 0.05) -> None:
        super().__init__(signature, splits)
        check_shift(shift)
        self._shift = shift

    def batches(
        self, split: str, size: int, order: np.random.Generator | None = None
    ) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """Yield (inputs, targets); shuffled and augmented by `order`, in stored order and as they are without it."""
        for (waves,), targets in super().batches(split, size, order):
            yield (waves if order is None else shifted(waves, order, (int(self._shift * waves.shape[1]),)),), targets

    def _check_ports(self, ports: tuple[Port, ...]) -> None:
        only_port(ports, "sounds are one float32 port (samples,)", "float32", 1)
