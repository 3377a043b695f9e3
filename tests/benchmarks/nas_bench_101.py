"""NAS-Bench-101's networks (Ying et al. 2019), as EC-NAS-Bench trained and metered them: a space for tests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_core.types import Architecture, Decision

_CHANNELS, _STACKS, _CELLS = 128, 3, 3


class EcNas:
    """The metered cells as a space of one decision, which is the row; also what was metered, by row.

    `energy_kwh` (N,) is that of training for 108 epochs on CIFAR-10, `params` (N,) the trainable parameters.
    """

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as arrays:
            self._matrices, self._labels = arrays["matrix"], arrays["labels"]
            self._vertices = arrays["n_vertices"]
            self.energy_kwh: NDArray[np.float64] = arrays["total_energy_kwh"]
            self.params: NDArray[np.float64] = arrays["trainable_params"].astype(float)
        self.decisions = (Decision(name="row", options=tuple(map(str, range(len(self._vertices))))),)

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network of a row: images (N, 3, 32, 32) to logits (N, 10)."""
        row = architecture[0]
        n = int(self._vertices[row])
        return Network(self._matrices[row][:n, :n].astype(int), self._labels[row][:n].tolist())


class Images:
    """A task of blank images: what counts is their shape."""

    def batches(self, _split: str, size: int, _order: Any = None) -> Any:
        """Yield one batch."""
        yield (torch.zeros(size, 3, 32, 32),), (torch.zeros(size, dtype=torch.long),)


class Network(nn.Module):
    """Stem, and three stacks of three cells, each stack at half the size and with twice the channels of the last."""

    def __init__(self, matrix: NDArray[np.int_], labels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(3, _CHANNELS, 3)]
        before = _CHANNELS
        for stack in range(_STACKS):
            width = _CHANNELS << stack
            if stack:
                layers.append(nn.MaxPool2d(2, 2))
            for _ in range(_CELLS):
                layers.append(Cell(matrix, labels, before, width))
                before = width
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(before, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(self.layers(image).mean((2, 3)))
        return logits


class Cell(nn.Module):
    """Operations on vertices; what enters one is summed, what enters the output is put side by side."""

    def __init__(self, matrix: NDArray[np.int_], labels: Sequence[int], before: int, after: int) -> None:
        super().__init__()
        self._matrix, self._widths = matrix, _widths(matrix, before, after)
        self._last = len(matrix) - 1
        self.operations, self.projections = nn.ModuleDict(), nn.ModuleDict()
        for vertex in range(1, self._last + 1):
            width = self._widths[vertex]
            if matrix[0, vertex]:
                self.projections[str(vertex)] = _convolution(before, width, 1)
            if vertex < self._last:
                kernel = {0: 3, 1: 1, 2: 0}[labels[vertex]]
                operation = _convolution(width, width, kernel) if kernel else nn.MaxPool2d(3, 1, 1)
                self.operations[str(vertex)] = operation

    def forward(self, x: Tensor) -> Tensor:
        """Return the cell's output."""
        maps: dict[int, Tensor] = {}
        for vertex in range(1, self._last):
            entering = [maps[source][:, : self._widths[vertex]] for source in maps if self._matrix[source, vertex]]
            maps[vertex] = self.operations[str(vertex)](_sum([*entering, *self._projected(x, vertex)]))
        out = [maps[source] for source in maps if self._matrix[source, self._last]]
        joined = [torch.cat(out, 1)] if len(out) > 1 else out
        return _sum([*joined, *self._projected(x, self._last)])

    def _projected(self, x: Tensor, vertex: int) -> list[Tensor]:
        return [self.projections[str(vertex)](x)] if self._matrix[0, vertex] else []


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


def _convolution(before: int, after: int, kernel: int) -> nn.Module:
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def _widths(matrix: NDArray[np.int_], before: int, after: int) -> list[int]:
    """Return the channels of each vertex: the output's are shared among those that enter it, the rest as they need."""
    last = len(matrix) - 1
    widths = [before, *[0] * (last - 1), after]
    entering = int(matrix[1:, last].sum())
    if last == 1:
        return widths
    share, left = divmod(after, entering)
    for vertex in range(1, last):
        if matrix[vertex, last]:
            widths[vertex] = share + (left > 0)
            left -= left > 0
    for vertex in range(last - 2, 0, -1):
        if not matrix[vertex, last]:
            widths[vertex] = max(widths[later] for later in range(vertex + 1, last) if matrix[vertex, later])
    return widths
