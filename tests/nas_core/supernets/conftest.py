from __future__ import annotations

import numpy as np
import pytest

from nas_core.spaces.macro import Macro
from nas_core.tasks.image import Image
from nas_core.types import Port, Signature

IMAGES = Signature(inputs=(Port(name="image", shape=(1, 8, 8)),), outputs=(Port(name="label", shape=(2,), classes=2),))


@pytest.fixture
def space() -> Macro:
    """A space of few slots, with a depth."""
    return Macro(IMAGES, max_layers=2, operations=("conv_3x3", "sep_conv_3x3", "max_pool_3x3"), channels=4)


@pytest.fixture
def task() -> Image:
    """Stripes that lie or stand, in noise; moved about while they are trained on."""
    rng = np.random.default_rng(0)

    def rows(n: int) -> tuple[tuple[np.ndarray], np.ndarray]:
        target = np.arange(n, dtype=np.int64) % 2
        stripes = np.tile(np.array([1, 1, -1, -1], np.float32), 2)
        images = np.where(target[:, None, None] == 0, stripes[None, :, None], stripes[None, None, :])
        noise = rng.normal(size=(n, 8, 8))
        return (((images + 0.7 * noise)[:, None]).astype(np.float32),), target

    return Image(IMAGES, {"train": rows(48), "validation": rows(64)}, shift=0.25, flip=True)
