"""NAS-Bench-201's cells (Dong and Yang 2020): four nodes, an operation on each of the six edges between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cache
from itertools import chain, permutations, product
from typing import TYPE_CHECKING, NamedTuple

from nas_core import space as algebra
from nas_core.errors import InputError, unknown
from nas_core.spaces._gates import best_options, checked, selected
from nas_core.spaces._graph import Edge, graph_features
from nas_core.spaces._images import check_one_image
from nas_core.spaces._options import check, is_count, scaled
from nas_core.types import Architecture, Decision, Live, Signature

if TYPE_CHECKING:
    from torch import Tensor, nn


class _Operation(NamedTuple):
    """Its name in the cell string, how many convolutions it is, its kernel, and whether it works without weights."""

    name: str
    convolutions: int = 0
    kernel: int = 1
    parameter_free: bool = False


_OPERATIONS = (
    _Operation("none"),
    _Operation("skip_connect", parameter_free=True),
    _Operation("nor_conv_1x1", convolutions=1),
    _Operation("nor_conv_3x3", convolutions=1, kernel=3),
    _Operation("avg_pool_3x3", kernel=3, parameter_free=True),
)
_NAMES = tuple(operation.name for operation in _OPERATIONS)
_NONE, _SKIP = 0, 1

_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source, target) in the order of the cell string; node 0 is the input, node 3 the output, nodes add up."""


class NasBench201:
    """NAS-Bench-201's cell: one of five operations on each of six edges, stacked (Dong and Yang 2020).

    `channels` is the width of the first of three stages, each of which repeats the cell `cells` times; the benchmark
    has 16 and 5. Architectures are exchanged as the benchmark's cell strings, see `to_string` and `from_string`.

    The input is one image (c, h, w) with sides of 8 pixels or more, the output logits (N, k) for one port of shape
    (k,). InputError for any other signature, and for options that are out of range.
    """

    def __init__(self, signature: Signature, *, channels: int = 16, cells: int = 5) -> None:
        check_one_image("nas-bench-201", signature)
        check("channels", [channels], "an integer >= 1", is_count)
        check("cells", [cells], "an integer >= 1", is_count)
        attributes = tuple((float(o.convolutions), float(o.parameter_free)) for o in _OPERATIONS)
        self._decisions = tuple(
            Decision(name=f"{source}->{target}", options=_NAMES, attributes=attributes) for source, target in _EDGES
        )
        self._signature = signature
        self._channels = channels
        self._cells = cells

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The operation of each edge; an option's attributes are whether it convolves, and works without weights."""
        return self._decisions

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the first of all cells that compute the same functions, each with some weights of its own.

        Nodes are sums, and sums flatten: what an identity passes on is as good as what it came from. An edge counts if
        it lies on a path from input to output. Convolutions of one operation differ by their weights, so it matters
        which are used twice; pooling has no weights, and is taken for any function without them. That leaves 5,260
        cells of 15,625. The constant that batch normalisation makes of a dead edge's zeros is no part of the function.
        """
        return _representatives()[architecture]

    def features(self, architecture: Architecture) -> Mapping[str, float]:
        """Return what `graph_features` tells of the canonical cell: its live operations, paths, depth and field."""
        edges = [
            Edge(source, target, operation.name, operation.convolutions, operation.kernel)
            for (source, target), option in zip(_EDGES, self.canonical(architecture), strict=True)
            if option != _NONE and (operation := _OPERATIONS[option])
        ]
        return graph_features(edges, _NAMES[1:], sources=[0], target=3)

    def scaled(self, share: float) -> NasBench201:
        """Return the same cells with `share` of the channels; see `nas_core.interfaces.Scalable`."""
        other = copy(self)
        vars(other).update(_channels=scaled(self._channels, share))
        return other

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network of `architecture`, initialised by torch's global generator."""
        algebra.validate(self, architecture)
        return self.supernet(self.path(architecture))

    @property
    def slots(self) -> tuple[int, ...]:
        """The options of each edge, in the order of the decisions."""
        return (len(_NAMES),) * len(_EDGES)

    def supernet(self, live: Live | None = None) -> nn.Module:
        """Return the network with all the operations `live`; what then is on no path through the cell is left out."""
        from nas_core.spaces._cells import nas_bench_201_supernet

        live = checked(live, self.slots)
        return nas_bench_201_supernet(self._signature, live, channels=self._channels, cells=self._cells)

    def path(self, architecture: Architecture) -> Live:
        """Return the one operation of each edge."""
        return tuple((option,) for option in architecture)

    def derive(self, scores: Sequence[Sequence[float]]) -> Architecture:
        """Return the operation of the best score of each edge."""
        return best_options(self, scores)

    def extract(self, supernet: nn.Module, live: Live) -> dict[str, Tensor]:
        """Return the state of `supernet(live)`: that of `supernet`, without the operations that are not in it."""
        return selected(supernet, self.supernet, live)

    def to_string(self, architecture: Architecture) -> str:
        """Return the benchmark's cell string: `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`, for each node what enters it."""
        algebra.validate(self, architecture)
        nodes = [
            "".join(f"{_NAMES[option]}~{source}|" for (source, to), option in _on_edges(architecture) if to == node)
            for node in (1, 2, 3)
        ]
        return "+".join(f"|{node}" for node in nodes)

    def from_string(self, text: str) -> Architecture:
        """Return the architecture of a cell string; InputError that names the first part that is not as it must be."""
        nodes = text.strip().split("+")
        if len(nodes) != 3:
            raise InputError(
                f"cell string: must have 3 nodes joined by '+', got {len(nodes)} in {text!r}; "
                f"it looks like {self.to_string((0,) * len(_EDGES))}"
            )
        return tuple(option for i, node in enumerate(nodes, start=1) for option in _from_node(i, node))


def _from_node(number: int, text: str) -> Iterator[int]:
    edges = text[1:-1].split("|")
    if not text.startswith("|") or not text.endswith("|") or len(edges) != number:
        raise InputError(
            f"cell string, node {number}: must be {number} edges between bars, |operation~source|, got {text!r}"
        )
    for source, edge in enumerate(edges):
        name, _, origin = edge.partition("~")
        if origin != str(source):
            raise InputError(f"cell string, node {number}: edge {source + 1} must end in ~{source}, got {edge!r}")
        if name not in _NAMES:
            raise unknown(f"cell string, edge {source}->{number}", name, _NAMES)
        yield _NAMES.index(name)


def _on_edges(architecture: Architecture) -> Iterator[tuple[tuple[int, int], int]]:
    return zip(_EDGES, architecture, strict=True)


# ---------------------------------------------------------------- twins

_SHARED = -1


class _Term(NamedTuple):
    """A summand: an operation, the edge whose weights it has (or _SHARED), and the sum that it is applied to."""

    option: int
    edge: int
    source: tuple[_Term, ...]


_Sum = tuple[_Term, ...]
"""Sorted, so that equal sums are equal values; () is zero."""

_INPUT: _Sum = (_Term(_SKIP, _SHARED, ()),)


@cache
def _representatives() -> dict[Architecture, Architecture]:
    """Return every cell's canonical form: of those with one identity, the first in lexicographic order."""
    first: dict[str, Architecture] = {}
    cells = product(range(len(_OPERATIONS)), repeat=len(_EDGES))
    return {cell: first.setdefault(_identity(cell), cell) for cell in cells}


def _identity(cell: Architecture) -> str:
    """Return a text that two cells share exactly if one is the other with its convolutions' weights renamed.

    Convolutions of one operation on one sum are alike until they are used; they are numbered in every order, and the
    first of the texts is taken.
    """
    output = _output(cell)
    alike: dict[object, list[int]] = {}
    for operation, edge, source in sorted(_convolutions(output)):
        alike.setdefault((operation, source), []).append(edge)
    orders = product(*(permutations(range(len(edges))) for edges in alike.values()))
    edges = [edge for group in alike.values() for edge in group]
    return min(_text(output, dict(zip(edges, chain(*order), strict=True))) for order in orders)


def _output(cell: Architecture) -> _Sum:
    """Return the sum at the output node, flat; what is on no path from the input adds nothing."""
    nodes = [_INPUT]
    for node in (1, 2, 3):
        terms: list[_Term] = []
        for index, ((source, target), option) in enumerate(_on_edges(cell)):
            if target != node or option == _NONE or not nodes[source]:
                continue
            if option == _SKIP:
                terms += nodes[source]
            else:
                terms.append(_Term(option, index if _OPERATIONS[option].convolutions else _SHARED, nodes[source]))
        nodes.append(tuple(sorted(terms)))
    return nodes[-1]


def _convolutions(terms: _Sum) -> set[_Term]:
    """Return all convolutions in a sum, however deep."""
    found = {term for term in terms if term.edge != _SHARED}
    return found.union(*(_convolutions(term.source) for term in terms))


def _text(terms: _Sum, number: Mapping[int, int]) -> str:
    return "+".join(sorted(f"{t.option}.{number.get(t.edge, '')}({_text(t.source, number)})" for t in terms))
