"""Networks of stacked cells. N is the batch.

A cell is an acyclic graph: an operation on an edge, a sum at a node. Edge (j, i) of cell 3 holds its operation `op` as
`cells.3.edges.j_i.op`, whatever other edges there are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nas_core.spaces._graph import live_edges
from nas_core.spaces._operations import OPERATIONS, Choice, FactorizedReduce, convolution, stem
from nas_core.types import Signature


class CellEdge(NamedTuple):
    """The operation called `name` from node `source` to node `target`, which is a later one."""

    source: int
    target: int
    name: str


NAS_BENCH_201_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source, target) in the order of NAS-Bench-201's cell string."""


def nas_bench_201_network(
    signature: Signature, operations: Sequence[str], *, channels: int = 16, cells: int = 5
) -> nn.Module:
    """Return the network of a NAS-Bench-201 cell: image (N, c, h, w) -> logits (N, classes).

    `operations` names the operation of each of `NAS_BENCH_201_EDGES`. What is on no path from the cell's input to its
    output is not built: the benchmark's networks, which have it, gain at most a learned constant per channel from it.
    A cell without any path gives zeros.
    """
    return NasBench201Network(signature, live_edges(_edges(operations), [0], 3), channels=channels, cells=cells)


def _edges(operations: Sequence[str]) -> list[CellEdge]:
    named = zip(NAS_BENCH_201_EDGES, operations, strict=True)
    return [CellEdge(source, target, name) for (source, target), name in named if name != "none"]


class Graph(nn.Module):
    """Operations on edges, sums at nodes; all maps have `channels`, those of the first `inputs` nodes are given.

    Edges that leave an input have `stride`. A node that no edge enters is zero.
    """

    def __init__(self, edges: Sequence[CellEdge], channels: int, *, nodes: int, inputs: int, stride: int = 1) -> None:
        super().__init__()
        self.edges = nn.ModuleDict()
        self._entering: list[list[tuple[int, str]]] = [[] for _ in range(nodes)]
        for source, target, name in edges:
            operation = OPERATIONS[name](channels, stride if source < inputs else 1)
            self.edges[f"{source}_{target}"] = Choice(name, operation)
            self._entering[target].append((source, f"{source}_{target}"))

    def _maps(self, *inputs: Tensor) -> list[Tensor]:
        """Return the maps of all nodes."""
        maps = list(inputs)
        for entering in self._entering[len(inputs) :]:
            terms = [self.edges[edge](maps[source]) for source, edge in entering]
            # Multiplied, not made: what lies before a cell that no path goes through has a gradient, of zero.
            maps.append(reduce(add, terms) if terms else inputs[0] * 0)
        return maps


class NasBench201Cell(Graph):
    """One input, two inner nodes, the last node is the output: (N, c, h, w) -> (N, c, h, w)."""

    def __init__(self, edges: Sequence[CellEdge], channels: int) -> None:
        super().__init__(edges, channels, nodes=4, inputs=1)

    def forward(self, x: Tensor) -> Tensor:
        return self._maps(x)[-1]


class ResidualReduction(nn.Module):
    """NAS-Bench-201's block between stages: (N, before, h, w) -> (N, after, h/2, w/2)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(before, after, 3, stride=2), convolution(after, after, 3))
        pool = nn.AvgPool2d(2, stride=2, ceil_mode=True)
        self.shortcut = nn.Sequential(pool, nn.Conv2d(before, after, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x) + self.shortcut(x)
        return y


class NasBench201Network(nn.Module):
    """Three stages of cells with C, 2C and 4C channels (Dong and Yang 2020, figure 1): image -> logits (N, classes)."""

    def __init__(self, signature: Signature, edges: Sequence[CellEdge], *, channels: int, cells: int) -> None:
        super().__init__()
        self.stem = stem(signature.inputs[0].shape[0], channels)
        layers: list[nn.Module] = []
        for width in (channels, 2 * channels, 4 * channels):
            if width > channels:
                layers.append(ResidualReduction(width // 2, width))
            layers += [NasBench201Cell(edges, width) for _ in range(cells)]
        self.cells = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(4 * channels)
        self.head = nn.Linear(4 * channels, signature.outputs[0].shape[0])

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.cells(self.stem(image))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class DartsCell(Graph):
    """Two inputs, four inner nodes, which are the output side by side: maps of `before` channels each -> 4 `channels`.

    Inputs are brought to `channels` by a pointwise convolution. The first one is twice as large as the second one if
    the cell before was a reduction (`halves_first`); a cell that is a reduction itself (`halves`) halves both.
    """

    def __init__(
        self, edges: Sequence[CellEdge], before: tuple[int, int], channels: int, *, halves: bool, halves_first: bool
    ) -> None:
        super().__init__(edges, channels, nodes=6, inputs=2, stride=2 if halves else 1)
        first, second = before
        self.first = FactorizedReduce(first, channels) if halves_first else convolution(first, channels, 1)
        self.second = convolution(second, channels, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.cat(self._maps(self.first(first), self.second(second))[2:], dim=1)


class DartsNetwork(nn.Module):
    """Cells that each read the two before them (Liu et al. 2019): image (N, c, h, w) -> logits (N, classes).

    A third and two thirds of the way, the cell is a reduction, and from there on the channels are twice as many.
    `normal` and `reduction` are the edges of the cells: nodes 0 and 1 are the cells before, two edges enter each of the
    nodes 2 to 5.
    """

    def __init__(
        self,
        signature: Signature,
        normal: Sequence[CellEdge],
        reduction: Sequence[CellEdge],
        *,
        channels: int,
        cells: int,
    ) -> None:
        super().__init__()
        before = (3 * channels, 3 * channels)
        self.stem = stem(signature.inputs[0].shape[0], before[0])
        self.cells = nn.ModuleList()
        reductions = thirds(cells)
        for i in range(cells):
            halves = i in reductions
            channels *= 2 if halves else 1
            edges = reduction if halves else normal
            self.cells.append(DartsCell(edges, before, channels, halves=halves, halves_first=i - 1 in reductions))
            before = (before[1], 4 * channels)
        self.head = nn.Linear(before[1], signature.outputs[0].shape[0])

    def forward(self, image: Tensor) -> Tensor:
        first = second = self.stem(image)
        for cell in self.cells:
            first, second = second, cell(first, second)
        logits: Tensor = self.head(second.mean((2, 3)))
        return logits


def thirds(depth: int) -> Collection[int]:
    """Return the places of `depth`, counted from 0, at which a network halves its maps."""
    return {depth // 3, 2 * depth // 3}
