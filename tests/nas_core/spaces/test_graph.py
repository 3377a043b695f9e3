"""Figures of a graph of operations."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_core import space as algebra
from nas_core.spaces._graph import Edge, graph_features
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.types import Port, Signature

KINDS = ("skip", "conv1", "conv3", "pool")
OPERATIONS = {"skip": (0, 1), "conv1": (1, 1), "conv3": (1, 3), "pool": (0, 3)}


def edge(source: int, target: int, kind: str) -> Edge:
    return Edge(source, target, kind, *OPERATIONS[kind])


def features(*edges: Edge, target: int = 3) -> dict[str, float]:
    return graph_features(edges, KINDS, sources=[0], target=target)


def nonzero(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value}


graphs = st.lists(
    st.tuples(st.sampled_from(list(combinations(range(5), 2))), st.sampled_from(KINDS)).map(
        lambda t: edge(*t[0], t[1])
    ),
    max_size=9,
)


def paths(given: list[Edge], node: int, target: int) -> list[list[Edge]]:
    """All paths, by walking each of them."""
    if node == target:
        return [[]]
    return [[e, *rest] for e in given if e.source == node for rest in paths(given, e.target, target)]


@given(graphs)
def test_figures_are_those_of_the_paths_walked_one_by_one(given: list[Edge]) -> None:
    walked = paths(given, 0, 4)
    on_a_path = {id(e) for path in walked for e in path}
    expected: dict[str, float] = defaultdict(float)
    for e in given:
        expected[f"live_{e.kind}"] += id(e) in on_a_path
    expected["paths"] = math.log2(1 + len(walked))
    expected["depth"] = max((sum(e.convolutions for e in path) for path in walked), default=0)
    expected["field"] = max((1 + sum(e.extent - 1 for e in path) for path in walked), default=0)
    expected["identity"] = float(any(all(e.kind == "skip" for e in path) for path in walked))
    figures = features(*given, target=4)
    assert figures == pytest.approx({name: expected[name] for name in figures})
    assert set(figures) == {"live_skip", "live_conv1", "live_conv3", "live_pool", "paths", "depth", "identity", "field"}


def test_a_chain_adds_up() -> None:
    assert nonzero(features(edge(0, 1, "conv3"), edge(1, 2, "conv3"), edge(2, 3, "pool"))) == {
        "live_conv3": 2,
        "live_pool": 1,
        "paths": 1,
        "depth": 2,
        "field": 7,
    }


def test_what_no_input_reaches_or_leads_nowhere_is_dead() -> None:
    alive = edge(0, 3, "conv1")
    assert features(alive, edge(1, 3, "conv3"), edge(0, 2, "pool")) == features(alive)


def test_without_a_path_all_is_zero_under_the_same_names() -> None:
    assert nonzero(features(edge(0, 1, "conv3"))) == {}
    assert list(features()) == list(features(edge(0, 3, "skip")))


def test_two_inputs_are_each_the_beginning_of_paths() -> None:
    figures = graph_features([edge(0, 2, "conv3"), edge(1, 2, "skip")], KINDS, sources=[0, 1], target=2)
    assert figures["paths"] == math.log2(3)
    assert figures["identity"] == 1


def test_twins_of_nas_bench_201_have_equal_features() -> None:
    space = NasBench201(
        Signature(inputs=(Port(name="x", shape=(3, 8, 8)),), outputs=(Port(name="y", shape=(2,), classes=2),))
    )
    of_class: dict[tuple[int, ...], set[tuple[float, ...]]] = defaultdict(set)
    for cell in product(range(5), repeat=6):
        of_class[algebra.canonical(space, cell)].add(tuple(space.features(cell).values()))
    assert all(len(found) == 1 for found in of_class.values())
