"""Figures of a directed acyclic graph of operations: what a cell's structure says before it is trained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar


class _Joins(Protocol):
    """An edge, whatever it does."""

    @property
    def source(self) -> int: ...

    @property
    def target(self) -> int: ...


Between = TypeVar("Between", bound=_Joins)


class Edge(NamedTuple):
    """An operation from node `source` to node `target`; nodes are numbered so that `source < target`.

    `kind` is what it is counted as. `convolutions` is how many layers with weights it puts one after another, `extent`
    the width that it sees of its input: `dilation * (kernel - 1) + 1`, and 1 for what works point by point. An edge
    with no convolution and extent 1 is the identity. An operation that gives zero is no edge: leave it out.
    """

    source: int
    target: int
    kind: str
    convolutions: int = 0
    extent: int = 1


def graph_features(
    edges: Iterable[Edge], kinds: Sequence[str], *, sources: Iterable[int], target: int
) -> dict[str, float]:
    """Return figures of what lies on a path from one of the nodes `sources` to the node `target`; the rest is dead.

    Always the same names: `live_<kind>`, the number of live edges, for each of `kinds` (a live edge of another kind is
    an error); `paths`, log2(1 + number of paths); `depth`, the most convolutions on one path; `identity`, 1 if a path
    has identities alone; `field`, the largest receptive field of a path. All are 0 where nothing is live.

    Dead edges and the numbering of inner nodes make no difference. An identity does count, so a space whose twins
    differ in identities should pass the edges of the canonical form.
    """
    inputs = frozenset(sources)
    ordered = sorted(edges)
    live = live_edges(ordered, inputs, target)
    counts = dict.fromkeys((f"live_{kind}" for kind in kinds), 0.0)
    paths: dict[int, int] = dict.fromkeys(inputs, 1)
    depth: dict[int, int] = dict.fromkeys(inputs, 0)
    field: dict[int, int] = dict.fromkeys(inputs, 1)
    identity = set(inputs)
    for edge in live:
        start, end = edge.source, edge.target
        counts[f"live_{edge.kind}"] += 1
        paths[end] = paths.get(end, 0) + paths[start]
        depth[end] = max(depth.get(end, 0), depth[start] + edge.convolutions)
        field[end] = max(field.get(end, 0), field[start] + edge.extent - 1)
        if start in identity and edge.convolutions == 0 and edge.extent == 1:
            identity.add(end)
    return {
        **counts,
        "paths": math.log2(1 + paths.get(target, 0)),
        "depth": float(depth.get(target, 0)),
        "identity": float(target in identity),
        "field": float(field.get(target, 0)),
    }


def live_edges(edges: Sequence[Between], sources: Iterable[int], target: int) -> list[Between]:
    """Return the edges that lie on a path from one of `sources` to `target`.

    They come in the order of `edges`, in which whatever enters a node is before whatever leaves it.
    """
    reached = set(sources)
    for edge in edges:
        if edge.source in reached:
            reached.add(edge.target)
    wanted = {target}
    for edge in reversed(edges):
        if edge.target in wanted:
            wanted.add(edge.source)
    return [edge for edge in edges if edge.source in reached and edge.target in wanted]
