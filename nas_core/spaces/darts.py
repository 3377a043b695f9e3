"""The DARTS cells (Liu et al. 2019): a normal and a reduction cell, four nodes each, two operations into each node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Literal, get_args

from nas_core import space as algebra
from nas_core.errors import InputError, unknown
from nas_core.spaces._graph import Edge, graph_features
from nas_core.spaces._images import check_one_image
from nas_core.spaces._options import check, check_names, is_count, names, scaled
from nas_core.types import Architecture, Decision, Signature

if TYPE_CHECKING:
    from torch import nn

Operation = Literal[
    "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5", "max_pool_3x3", "avg_pool_3x3", "skip_connect"
]
Genotype = Mapping[str, Sequence[tuple[str, int]]]
"""`normal` and `reduce`: for each node in turn, two (operation, node that it is applied to), as DARTS prints them."""

_TRAITS: dict[str, tuple[int, int]] = {
    "sep_conv_3x3": (2, 5),
    "sep_conv_5x5": (2, 9),
    "dil_conv_3x3": (1, 5),
    "dil_conv_5x5": (1, 9),
    "max_pool_3x3": (0, 3),
    "avg_pool_3x3": (0, 3),
    "skip_connect": (0, 1),
}
"""How many convolutions an operation puts one after another, and the width that it sees."""

_CELLS = ("normal", "reduction")
_INNER = range(2, 6)
"""The nodes of a cell; 0 and 1 are the outputs of the cell before the last one and of the last one."""

_OUTPUT = 6
_PAIRS = {node: tuple(combinations(range(node), 2)) for node in _INNER}
"""What a node's two operations may be applied to; the first node has no choice."""

_Input = tuple[int, int]
"""A node that is read, and the index of the operation that is applied to it."""

_Nodes = tuple[tuple[_Input, _Input], ...]
"""What enters each of `_INNER`, in order."""


class Darts:
    """The DARTS cells, one that keeps the size of its maps and one that halves it, stacked (Liu et al. 2019).

    `channels` is the width of the first cells, `cells` how many are stacked: reductions are a third and two thirds of
    the way. Decisions depend on neither, so that what was found with few cells is built with many: the paper searches
    with 16 and 8 and retrains with 36 and 20. The auxiliary head and the dropped paths of its training are left out.
    `operations` are those to choose from. Architectures are exchanged as genotypes, see `to_genotype`.

    The input is one image (c, h, w) of 8 pixels or more, the output logits (N, k) for one port of shape (k,).
    InputError for any other signature, and for options that are out of range.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        operations: Sequence[Operation] = get_args(Operation),
        channels: int = 16,
        cells: int = 8,
    ) -> None:
        check_one_image("darts", signature)
        check_names("operations", operations, get_args(Operation))
        check("channels", [channels], "an integer >= 2", lambda v: is_count(v) and v > 1)
        check(
            "cells", [cells], "an integer >= 3, so that there are cells of both kinds", lambda v: is_count(v) and v > 2
        )
        self._signature = signature
        self._operations = tuple(operations)
        self._channels = channels
        self._cells = cells
        self._decisions = tuple(decision for cell in _CELLS for decision in self._cell_decisions(cell))

    def _cell_decisions(self, cell: str) -> Iterator[Decision]:
        attributes = tuple(tuple(map(float, _TRAITS[operation])) for operation in self._operations)
        for node in _INNER:
            if len(_PAIRS[node]) > 1:
                yield names(f"{cell}_{node}_inputs", [f"{a}+{b}" for a, b in _PAIRS[node]])
            for which in ("first", "second"):
                yield replace(names(f"{cell}_{node}_{which}", self._operations), attributes=attributes)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Per cell and node (2 to 5): the nodes that it reads, and the operation on the first and on the second.

        An operation's attributes are how many convolutions it puts one after another, and the width that it sees.
        """
        return self._decisions

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the first of all architectures whose cells differ only in how their nodes are numbered.

        In which order the nodes are put side by side makes no difference: what reads a cell has weights per channel.
        Identities alone can add up to the same by different ways; such twins, few among many, are not recognised.
        """
        return tuple(option for cell in self._split(architecture) for option in _canonical(cell))

    def features(self, architecture: Architecture) -> Mapping[str, float]:
        """Return what `graph_features` tells of each cell, from either input to all nodes side by side."""
        found: dict[str, float] = {}
        for name, cell in zip(_CELLS, self._split(architecture), strict=True):
            edges = [Edge(node, _OUTPUT, "output") for node in _INNER]
            for source, target, operation in self._edges(cell):
                edges.append(Edge(source, target, operation, *_TRAITS[operation]))
            figures = graph_features(edges, [*self._operations, "output"], sources=(0, 1), target=_OUTPUT)
            del figures["live_output"]  # always 4
            found |= {f"{name}_{key}": value for key, value in figures.items()}
        return found

    def scaled(self, share: float) -> Darts:
        """Return the same cells with `share` of the channels; see `nas_core.interfaces.Scalable`."""
        other = copy(self)
        vars(other).update(_channels=scaled(self._channels, share, least=2))
        return other

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network of `architecture`, initialised by torch's global generator."""
        from nas_core.spaces._cells import CellEdge, DartsNetwork

        algebra.validate(self, architecture)
        normal, reduction = ([CellEdge(*edge) for edge in self._edges(cell)] for cell in self._split(architecture))
        return DartsNetwork(self._signature, normal, reduction, channels=self._channels, cells=self._cells)

    def to_genotype(self, architecture: Architecture) -> dict[str, list[tuple[str, int]]]:
        """Return the cells as DARTS prints them: `normal` and `reduce`, pairs of an operation and the node it reads."""
        algebra.validate(self, architecture)
        normal, reduction = (
            [(operation, source) for source, _, operation in self._edges(cell)] for cell in self._split(architecture)
        )
        return {"normal": normal, "reduce": reduction}

    def from_genotype(self, genotype: Genotype) -> Architecture:
        """Return the architecture of a genotype; InputError that names the first part that is not as it must be."""
        if not {"normal", "reduce"} <= set(genotype):
            raise InputError(f"genotype: must have the cells normal and reduce, got {', '.join(genotype) or 'none'}")
        return tuple(o for cell in ("normal", "reduce") for o in self._read(f"genotype.{cell}", genotype[cell]))

    def _read(self, at: str, cell: Sequence[tuple[str, int]]) -> Iterator[int]:
        if len(cell) != 2 * len(_INNER):
            raise InputError(f"{at}: must be 8 (operation, node) pairs, two for each of 4 nodes, got {len(cell)}")
        for operation, _ in cell:
            if operation not in self._operations:
                raise unknown(at, operation, self._operations)
        inputs = [(source, self._operations.index(operation)) for operation, source in cell]
        for node, first, second in zip(_INNER, inputs[::2], inputs[1::2], strict=True):
            read = sorted([first[0], second[0]])
            if tuple(read) not in _PAIRS[node]:
                raise InputError(f"{at}: node {node} must read two different ones of 0 to {node - 1}, got {read}")
            yield from _options(node, (first, second))

    def _split(self, architecture: Architecture) -> tuple[Architecture, Architecture]:
        half = len(self._decisions) // 2
        return architecture[:half], architecture[half:]

    def _edges(self, cell: Architecture) -> list[tuple[int, int, str]]:
        """Return (source, target, operation), two for each inner node in order."""
        pairs = zip(_INNER, _nodes(cell), strict=True)
        return [(source, node, self._operations[option]) for node, inputs in pairs for source, option in inputs]


def _nodes(cell: Architecture) -> _Nodes:
    """Return what enters each node, from the options of one cell's decisions."""
    options = iter(cell)
    nodes = []
    for pairs in _PAIRS.values():
        first, second = pairs[next(options) if len(pairs) > 1 else 0]
        nodes.append(((first, next(options)), (second, next(options))))
    return tuple(nodes)


def _options(node: int, inputs: Sequence[_Input]) -> Architecture:
    """Return the options of the decisions of one node, for what enters it in any order."""
    (a, first), (b, second) = sorted(inputs)
    return (*([_PAIRS[node].index((a, b))] if len(_PAIRS[node]) > 1 else []), first, second)


@lru_cache(maxsize=1 << 16)
def _canonical(cell: Architecture) -> Architecture:
    """Return the least of the forms that a cell has if its nodes are numbered otherwise.

    Numbers are given one after another, each to the node that has the least options then; ties are all followed.
    """
    nodes = dict(zip(_INNER, _nodes(cell), strict=True))
    numberings = [{0: 0, 1: 1}]
    canonical: list[int] = []
    for new in _INNER:
        forms = [
            (_options(new, [(numbers[source], option) for source, option in inputs]), {**numbers, node: new})
            for numbers in numberings
            for node, inputs in nodes.items()
            if node not in numbers and all(source in numbers for source, _ in inputs)
        ]
        least = min(options for options, _ in forms)
        numberings = [numbers for options, numbers in forms if options == least]
        canonical += least
    return tuple(canonical)
