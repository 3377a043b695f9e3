"""Real images for networks to train on: a few rows each, (N, c, h, w) in [0, 1] with their classes, int64 (N,)."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

Rows = tuple[Tensor, Tensor]
ROWS = 16


@pytest.fixture
def fashion(data: Path) -> Rows:
    """Fashion-MNIST: 1 x 28 x 28, 10 classes."""
    with np.load(data / "fashion_mnist_small.npz", allow_pickle=False) as file:
        images, classes = file["x_train"][:ROWS], file["y_train"][:ROWS]
    return torch.tensor(images).unsqueeze(1) / 255, torch.tensor(classes, dtype=torch.int64)


@pytest.fixture
def cifar(data: Path) -> Rows:
    """CIFAR-10: 3 x 32 x 32, 10 classes."""
    with np.load(data / "cifar10_small_train.npz", allow_pickle=False) as file:
        blob, offsets, classes = file["blob"].tobytes(), file["offsets"][: ROWS + 1], file["labels"][:ROWS]
    images = [np.array(Image.open(BytesIO(blob[start:end]))) for start, end in pairwise(offsets)]
    return torch.tensor(np.stack(images)).permute(0, 3, 1, 2) / 255, torch.tensor(classes, dtype=torch.int64)
