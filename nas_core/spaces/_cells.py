"""Networks of stacked cells. N is the batch.

A cell is an acyclic graph: an operation on an edge, a sum at a node. Edge (j, i) of cell 3 holds its operation `op` as
`cells.3.edges.j_i.op`, whatever other edges there are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn

from nas_core.errors import InputError
from nas_core.spaces._gates import checked
from nas_core.spaces._graph import live_edges
from nas_core.spaces._operations import OPERATIONS, Choice, FactorizedReduce, convolution, stem
from nas_core.spaces._shared_cells import Leaving, Plan
from nas_core.spaces._shared_cells import cell as shared_cell
from nas_core.types import Live, Signature

if TYPE_CHECKING:
    from nas_core.interfaces import Gates


class CellEdge(NamedTuple):
    """The operation called `name` from node `source` to node `target`, which is a later one."""

    source: int
    target: int
    name: str


NAS_BENCH_201_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source, target) in the order of NAS-Bench-201's cell string."""

NAS_BENCH_201_OPTIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The operations of an edge, in the order of the benchmark's options."""


def nas_bench_201_network(
    signature: Signature, operations: Sequence[str], *, channels: int = 16, cells: int = 5
) -> nn.Module:
    """Return the network of a NAS-Bench-201 cell: image (N, c, h, w) -> logits (N, classes).

    `operations` names the operation of each of `NAS_BENCH_201_EDGES`. What is on no path from the cell's input to its
    output is not built: the benchmark's networks, which have it, gain at most a learned constant per channel from it.
    A cell without any path gives zeros.
    """
    live = tuple((NAS_BENCH_201_OPTIONS.index(name),) for name in operations)
    return nas_bench_201_supernet(signature, live, channels=channels, cells=cells)


def nas_bench_201_supernet(
    signature: Signature, live: Live, *, channels: int = 16, cells: int = 5
) -> NasBench201Network:
    """Return the network that has the operations `live` on each of `NAS_BENCH_201_EDGES`, as far as they are alive."""
    return NasBench201Network(signature, nas_bench_201_edges(live), channels=channels, cells=cells)


def nas_bench_201_edges(live: Live) -> list[CellEdge]:
    """Return the operations of `live` that are on a path from the cell's input to its output."""
    edges = [
        CellEdge(source, target, NAS_BENCH_201_OPTIONS[option])
        for (source, target), options in zip(NAS_BENCH_201_EDGES, live, strict=True)
        for option in options
        if option
    ]
    return live_edges(edges, [0], 3)


def nas_bench_201_plan(gates: Gates) -> Plan:
    """Return what is computed in each cell by `gates`: what leaves each node, as far as it is alive."""
    leaving: dict[tuple[int, str], list[int]] = {}
    for source, target, name in nas_bench_201_edges(gates.live):
        leaving.setdefault((source, name), []).append(target)
    weights = dict(zip(NAS_BENCH_201_EDGES, gates.weight, strict=True))
    plan: dict[int, list[Leaving]] = {source: [] for source, _ in sorted(leaving)}
    for (source, name), targets in leaving.items():
        own = [weights[source, target] for target in targets]
        weight = None
        if (like := next((w for w in own if w is not None), None)) is not None:
            option, one = NAS_BENCH_201_OPTIONS.index(name), like.new_ones(())
            weight = torch.stack([one if w is None else w[option] for w in own])
        plan[source].append(Leaving(name, tuple(targets), weight))
    return list(plan.items())


class Graph(nn.Module):
    """Operations on edges, sums at nodes; all maps have `channels`, those of the first `inputs` nodes are given.

    Edges that leave an input have `stride`. A node that no edge enters is zero. Several operations between two nodes,
    as a supernet has them, add up.
    """

    def __init__(self, edges: Sequence[CellEdge], channels: int, *, nodes: int, inputs: int, stride: int = 1) -> None:
        super().__init__()
        self.edges = nn.ModuleDict()
        self._entering: list[list[tuple[int, str]]] = [[] for _ in range(nodes)]
        for source, target, name in edges:
            operation = OPERATIONS[name](channels, stride if source < inputs else 1)
            edge = f"{source}_{target}"
            if edge in self.edges:
                cast(Choice, self.edges[edge])[name] = operation
            else:
                self.edges[edge] = Choice({name: operation})
                self._entering[target].append((source, edge))

    def _maps(self, *inputs: Tensor) -> list[Tensor]:
        """Return the maps of all nodes."""
        maps = list(inputs)
        for entering in self._entering[len(inputs) :]:
            terms = [self.edges[edge](maps[source]) for source, edge in entering]
            # Multiplied, not made: what lies before a cell that no path goes through has a gradient, of zero.
            maps.append(reduce(add, terms) if terms else inputs[0] * 0)
        return maps


class NasBench201Cell(Graph):
    """One input, two inner nodes, the last node is the output: (N, c, h, w) -> (N, c, h, w).

    With a `plan`, what it says is computed, otherwise all that there is.
    """

    def __init__(self, edges: Sequence[CellEdge], channels: int) -> None:
        super().__init__(edges, channels, nodes=4, inputs=1)

    def forward(self, x: Tensor, plan: Plan | None = None) -> Tensor:
        return self._maps(x)[-1] if plan is None else shared_cell(self.edges, x, plan, output=3)


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
    """Three stages of cells with C, 2C and 4C channels (Dong and Yang 2020, figure 1): image -> logits (N, classes).

    With several operations on an edge it is a supernet; `gates` say which of them are computed, in all cells alike.
    InputError for a gate of an operation that the network does not have.
    """

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
        self._held = frozenset(edges)

    def forward(self, image: Tensor, gates: Gates | None = None) -> Tensor:
        plan = None if gates is None else self._plan(gates)
        x = self.stem(image if plan is None else image.contiguous(memory_format=torch.channels_last))
        for cell in self.cells:
            x = cell(x, plan) if isinstance(cell, NasBench201Cell) else cell(x)
        logits: Tensor = self.head(torch.relu(self.norm(x)).mean((2, 3)))
        return logits

    def _plan(self, gates: Gates) -> Plan:
        slots = (len(NAS_BENCH_201_OPTIONS),) * len(NAS_BENCH_201_EDGES)
        checked(gates.live, slots)
        if missing := set(nas_bench_201_edges(gates.live)) - self._held:
            source, target, name = min(missing)
            raise InputError(
                f"gates.live: {name} on the edge {source}->{target} is not in this supernet; build it with it"
            )
        return nas_bench_201_plan(gates)


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
