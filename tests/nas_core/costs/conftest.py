from __future__ import annotations

import numpy as np
import pytest

from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.tasks.image import Image
from nas_core.types import Port, Signature

IMAGE = Signature(inputs=(Port(name="image", shape=(3, 16, 16)),), outputs=(Port(name="y", shape=(4,), classes=4),))


@pytest.fixture(scope="session")
def images() -> Image:
    """Eight noisy images of four classes."""
    rng = np.random.default_rng(0)
    rows = ((rng.normal(size=(8, 3, 16, 16)).astype(np.float32),), np.arange(8, dtype=np.int64) % 4)
    return Image(IMAGE, {"train": rows, "validation": rows})


@pytest.fixture(scope="session")
def cells() -> NasBench201:
    """NAS-Bench-201's cell, once a stage."""
    return NasBench201(IMAGE, channels=4, cells=1)
