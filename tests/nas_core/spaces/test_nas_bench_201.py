"""NAS-Bench-201's cells: exchange by strings, and which of them compute the same functions."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import Structured
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.types import Architecture, Port, Signature

IMAGES = Signature(inputs=(Port(name="image", shape=(3, 8, 8)),), outputs=(Port(name="label", shape=(4,), classes=4),))
SPACE = NasBench201(IMAGES, channels=4, cells=1)
CELLS = list(product(range(5), repeat=6))
cells = st.tuples(*[st.integers(0, 4)] * 6)

NONE, SKIP, CONV_1X1, CONV_3X3, POOL = range(5)


def test_the_benchmark_has_15625_cells_with_edges_in_the_order_of_its_strings() -> None:
    assert algebra.size(SPACE) == 15_625
    assert [decision.name for decision in SPACE.decisions] == ["0->1", "0->2", "1->2", "0->3", "1->3", "2->3"]


def test_it_knows_its_twins() -> None:
    assert isinstance(SPACE, Structured)


@pytest.mark.parametrize("shape", [(3,), (), (8, 8), (3, 4, 4)])
def test_other_inputs_than_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="nas-bench-201: needs one float32 input"):
        NasBench201(replace(IMAGES, inputs=(Port(name="x", shape=shape),)))


@pytest.mark.parametrize("option", ["channels", "cells"])
def test_options_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(InputError, match=f"{option}: must be an integer >= 1, got 0"):
        NasBench201(IMAGES, **{option: 0})


# ---------------------------------------------------------------- strings


def test_a_string_of_the_benchmark_is_read_edge_by_edge() -> None:
    text = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|nor_conv_3x3~1|none~2|"
    assert SPACE.from_string(text) == (POOL, CONV_1X1, SKIP, CONV_1X1, CONV_3X3, NONE)


@given(cells)
def test_strings_are_read_as_they_were_written(cell: Architecture) -> None:
    assert SPACE.from_string(SPACE.to_string(cell)) == cell


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("|none~0|+|none~0|none~1|", "must have 3 nodes joined by '\\+', got 2"),
        ("|sep_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|", "0->1: unknown name 'sep_conv_3x3'.*nor_conv_3x3"),
        ("|none~0|+|none~0|none~1|none~2|+|none~0|none~1|none~2|", "node 2: must be 2 edges"),
        ("|none~0|+|none~0|none~1|+|none~0|none~0|none~2|", "node 3: edge 2 must end in ~1, got 'none~0'"),
        ("|none~0|+|none~0|none~1|+none~0|none~1|none~2", "node 3: must be 3 edges between bars"),
        ("||none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "node 1: must be 1 edges"),
        ("normal: sep_conv_3x3 0", "must have 3 nodes"),
    ],
)
def test_a_string_of_another_space_is_refused_at_its_first_wrong_part(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SPACE.from_string(text)


# ---------------------------------------------------------------- twins


@given(cells)
def test_the_canonical_form_is_a_cell_and_its_own(cell: Architecture) -> None:
    canonical = SPACE.canonical(cell)
    algebra.validate(SPACE, canonical)
    assert SPACE.canonical(canonical) == canonical


@pytest.mark.parametrize(
    ("cell", "twin"),
    [
        ((NONE, NONE, POOL, SKIP, CONV_3X3, POOL), (NONE, NONE, NONE, SKIP, NONE, NONE)),
        ((CONV_3X3, NONE, NONE, NONE, SKIP, NONE), (NONE, CONV_3X3, NONE, NONE, NONE, SKIP)),
        ((SKIP, NONE, CONV_1X1, NONE, NONE, POOL), (NONE, CONV_1X1, NONE, NONE, NONE, POOL)),
        ((POOL, POOL, NONE, NONE, CONV_1X1, CONV_3X3), (POOL, NONE, SKIP, NONE, CONV_1X1, CONV_3X3)),
    ],
    ids=["dead edges", "a node renamed", "an identity", "pooled twice or once"],
)
def test_twins_share_their_canonical_form(cell: Architecture, twin: Architecture) -> None:
    assert SPACE.canonical(cell) == SPACE.canonical(twin)


def test_a_convolution_used_twice_is_not_two_convolutions() -> None:
    used_twice = (CONV_3X3, NONE, SKIP, NONE, SKIP, SKIP)
    two = (CONV_3X3, CONV_3X3, NONE, NONE, SKIP, SKIP)
    assert SPACE.canonical(used_twice) != SPACE.canonical(two)


class Evaluator:
    """All cells as functions of numbers: a convolution of an edge is tanh(w v), with every order of six weights.

    `outputs(cell)` has shape (720, 3): an order of weights and an input each.
    """

    INPUTS = np.array([0.3, -0.7, 1.1])
    WEIGHTS = np.array(list(permutations([0.31, -0.83, 1.27, -1.93, 0.59, 2.11])))

    def __init__(self) -> None:
        input_ = np.broadcast_to(self.INPUTS, (len(self.WEIGHTS), 3))
        nodes_1 = [self._apply(0, a, input_) for a in range(5)]
        self._from_input = [self._apply(3, option, input_) for option in range(5)]
        self._from_1 = {(a, e): self._apply(4, e, nodes_1[a]) for a, e in product(range(5), repeat=2)}
        self._from_2 = {
            (a, b, c, f): self._apply(5, f, self._apply(1, b, input_) + self._apply(2, c, nodes_1[a]))
            for a, b, c, f in product(range(5), repeat=4)
        }

    def _apply(self, edge: int, option: int, value: NDArray[np.float64]) -> NDArray[np.float64]:
        weights = self.WEIGHTS[:, edge, None]
        match option:
            case 0:
                return np.zeros_like(value)
            case 1:
                return value
            case 2:
                return np.tanh(weights * value)
            case 3:
                return np.sin(weights * value)
        return np.arctan(1.7 * value)  # pooling: some function without weights

    def outputs(self, cell: Architecture) -> NDArray[np.float64]:
        a, b, c, d, e, f = cell
        return self._from_input[d] + self._from_1[a, e] + self._from_2[a, b, c, f]


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator()


def test_every_cell_is_its_canonical_form_under_some_mapping_of_weights(evaluator: Evaluator) -> None:
    for cell in CELLS:
        canonical = evaluator.outputs(SPACE.canonical(cell))
        distance = np.abs(canonical - evaluator.outputs(cell)[0]).max(axis=1)
        assert distance.min() < 1e-12, cell


def test_an_independent_count_finds_the_same_5260_functions(evaluator: Evaluator) -> None:
    """A mean over all orders of weights knows no order: cells agree in it if they are one function of some weights."""
    means = [np.exp(np.sin(evaluator.outputs(cell))).prod(axis=1).mean() for cell in CELLS]
    fingerprints = np.round(means, 11).tolist()
    canonical = [SPACE.canonical(cell) for cell in CELLS]
    assert len(set(fingerprints)) == len(set(canonical)) == len(set(zip(fingerprints, canonical, strict=True))) == 5260


def test_dead_edges_make_no_difference_to_the_network() -> None:
    outputs = []
    for cell in ((NONE, NONE, POOL, SKIP, CONV_3X3, POOL), (NONE, NONE, NONE, SKIP, NONE, NONE)):
        torch.manual_seed(0)
        network = SPACE.build(cell)
        outputs.append(network(torch.ones(2, 3, 8, 8)))
    assert torch.equal(*outputs)


# ---------------------------------------------------------------- features


@given(cells)
def test_twins_have_equal_features(cell: Architecture) -> None:
    assert SPACE.features(cell) == SPACE.features(SPACE.canonical(cell))


def test_features_count_what_is_live() -> None:
    features = SPACE.features((CONV_3X3, CONV_3X3, POOL, SKIP, CONV_1X1, NONE))
    assert features["live_nor_conv_3x3"] == 1
    assert features["live_avg_pool_3x3"] == 0
    assert features["depth"] == 2
    assert features["field"] == 3
    assert features["identity"] == 1
