from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import Structured
from nas_core.spaces.darts import Darts
from nas_core.types import Architecture, Port, Signature
from tests.nas_core.spaces.conftest import Rows
from tests.nas_core.spaces.networks import exports, trains_one_step, warns_of_itself

Genotype = dict[str, list[tuple[str, int]]]


def images(*shape: int, classes: int = 10) -> Signature:
    return Signature(
        inputs=(Port(name="image", shape=shape),), outputs=(Port(name="class", shape=(classes,), classes=classes),)
    )


SPACE = Darts(images(3, 32, 32), channels=4, cells=3)
V2: Genotype = {
    "normal": [
        ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 1), ("skip_connect", 0),
        ("skip_connect", 0), ("dil_conv_3x3", 2),
    ],
    "reduce": [
        ("max_pool_3x3", 0), ("max_pool_3x3", 1),
        ("skip_connect", 2), ("max_pool_3x3", 1),
        ("max_pool_3x3", 0), ("skip_connect", 2),
        ("skip_connect", 2), ("max_pool_3x3", 1),
    ],
}  # fmt: skip
"""The cells that Liu et al. 2019 found by their second-order approximation."""


def some(space: Darts, n: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [algebra.sample(space, rng) for _ in range(n)]


FEW = Darts(images(3, 32, 32), operations=["sep_conv_3x3", "skip_connect"])
"""So few operations that nodes are often alike."""


def members(space: Darts) -> st.SearchStrategy[Architecture]:
    return st.tuples(*(st.integers(0, len(decision.options) - 1) for decision in space.decisions))


# ---------------------------------------------------------------- decisions


def test_the_decisions_of_a_cell() -> None:
    assert [decision.name for decision in SPACE.decisions][: len(SPACE.decisions) // 2] == [
        "normal_2_first", "normal_2_second",
        "normal_3_inputs", "normal_3_first", "normal_3_second",
        "normal_4_inputs", "normal_4_first", "normal_4_second",
        "normal_5_inputs", "normal_5_first", "normal_5_second",
    ]  # fmt: skip
    assert SPACE.decisions[2].options == ("0+1", "0+2", "1+2")


def test_the_size_is_the_one_in_the_paper() -> None:
    """Liu et al. 2019, appendix A.2: a cell is one of prod k (k + 1) / 2 * 7^2 for k from 1 to 4, about 10^9."""
    assert algebra.size(SPACE) == np.prod([k * (k + 1) // 2 * 7**2 for k in range(1, 5)]) ** 2


def test_decisions_do_not_depend_on_how_cells_are_stacked_nor_on_the_image() -> None:
    searched, retrained = Darts(images(3, 32, 32), channels=8, cells=3), Darts(images(1, 28, 28), channels=36, cells=20)
    assert algebra.digest(searched) == algebra.digest(retrained)


def test_the_decisions_load_no_torch() -> None:
    code = "import sys, nas_core.spaces.darts; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- genotypes


def test_a_network_of_published_cells_has_the_published_parameters() -> None:
    """The figure that the authors' training prints for CIFAR-10; the auxiliary head is not counted there either."""
    space = Darts(images(3, 32, 32), channels=36, cells=20)
    network = space.build(space.from_genotype(V2))
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_349_342


def test_a_genotype_is_read_in_any_order_of_a_nodes_inputs() -> None:
    turned = {cell: [pair for i in range(0, 8, 2) for pair in (pairs[i + 1], pairs[i])] for cell, pairs in V2.items()}
    assert SPACE.from_genotype(turned) == SPACE.from_genotype(V2)


@given(members(SPACE))
def test_genotypes_go_there_and_back(architecture: Architecture) -> None:
    assert SPACE.from_genotype(SPACE.to_genotype(architecture)) == architecture


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        ({"normal": V2["normal"]}, "genotype: must have the cells normal and reduce, got normal"),
        ({**V2, "reduce": V2["reduce"][:6]}, r"genotype\.reduce: must be 8 \(operation, node\) pairs, .* got 6"),
        ({**V2, "normal": [("sep_conv_7x7", 0), *V2["normal"][1:]]}, r"genotype\.normal: unknown name 'sep_conv_7x7'"),
        ({**V2, "normal": [("sep_conv_3x3", 1), *V2["normal"][1:]]}, r"node 2 must read two different .* got \[1, 1\]"),
        ({**V2, "normal": [("sep_conv_3x3", 2), *V2["normal"][1:]]}, r"ones of 0 to 1, got \[1, 2\]"),
    ],
)
def test_a_genotype_that_is_none_is_refused_by_its_first_wrong_part(genotype: Genotype, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SPACE.from_genotype(genotype)


# ---------------------------------------------------------------- twins

orders = st.permutations(range(2, 6))


def renumbered(cell: list[tuple[str, int]], order: list[int]) -> list[tuple[str, int]] | None:
    """The cell with its nodes in `order`; None if one would come before what it reads."""
    number = {0: 0, 1: 1, **{node: new for new, node in enumerate(order, start=2)}}
    pairs = [(name, number[source]) for node in order for name, source in cell[2 * node - 4 : 2 * node - 2]]
    in_order = all(source < 2 + place // 2 for place, (_, source) in enumerate(pairs))
    return pairs if in_order else None


@given(members(FEW), orders, orders)
def test_cells_that_differ_in_the_order_of_nodes_are_twins(
    architecture: Architecture, normal: list[int], reduce: list[int]
) -> None:
    genotype = FEW.to_genotype(architecture)
    cells = {"normal": renumbered(genotype["normal"], normal), "reduce": renumbered(genotype["reduce"], reduce)}
    twin = FEW.from_genotype({name: new or genotype[name] for name, new in cells.items()})
    assert FEW.canonical(architecture) == FEW.canonical(twin)
    assert FEW.features(architecture) == FEW.features(twin)


def test_it_makes_no_difference_which_of_two_nodes_that_are_alike_is_read() -> None:
    def cell(read: int) -> list[tuple[str, int]]:
        alike = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1)] * 2
        return [*alike, ("skip_connect", 0), ("skip_connect", read), ("skip_connect", 0), ("skip_connect", 4)]

    first, second = (FEW.from_genotype({"normal": cell(read), "reduce": cell(2)}) for read in (2, 3))
    assert FEW.canonical(first) == FEW.canonical(second)


def independent(architecture: Architecture) -> tuple[frozenset[Any], ...]:
    """What each cell computes, without numbers: how often which tree of operations is a node of it."""

    def nodes(cell: list[tuple[str, int]]) -> frozenset[Any]:
        trees: list[Any] = [0, 1]
        for first, second in zip(cell[::2], cell[1::2], strict=True):
            trees.append(tuple(sorted(((name, trees[source]) for name, source in (first, second)), key=repr)))
        return frozenset((tree, trees.count(tree)) for tree in trees[2:])

    return tuple(nodes(cell) for cell in FEW.to_genotype(architecture).values())


@given(members(FEW))
def test_a_canonical_form_is_a_twin_and_none_is_before_it(architecture: Architecture) -> None:
    canonical = FEW.canonical(architecture)
    assert independent(canonical) == independent(architecture)
    assert canonical <= architecture


def test_a_twin_is_the_same_function_with_its_weights_moved() -> None:
    """Nodes 3 and 4 change places; so do their maps in the concatenation that later cells and the head read."""
    order = [2, 4, 3, 5]
    genotype: Genotype = {
        name: [("sep_conv_3x3", 0), ("skip_connect", 1), ("dil_conv_3x3", 0), ("max_pool_3x3", 2),
               ("avg_pool_3x3", 1), ("skip_connect", 2), ("sep_conv_5x5", 3), ("skip_connect", 4)]
        for name in ("normal", "reduce")
    }  # fmt: skip
    twin_genotype = {name: renumbered(cell, order) or cell for name, cell in genotype.items()}
    assert twin_genotype != genotype
    networks = [SPACE.build(SPACE.from_genotype(each)).eval() for each in (genotype, twin_genotype)]
    networks[1].load_state_dict(moved(networks[0].state_dict(), order))
    x = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(networks[0](x), networks[1](x))


def moved(state: dict[str, Tensor], order: list[int]) -> dict[str, Tensor]:
    number = {0: 0, 1: 1, **{node: new for new, node in enumerate(order, start=2)}}
    found = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[2:3] == ["edges"]:
            source, target = map(int, parts[3].split("_"))
            parts[3] = f"{number[source]}_{number[target]}"
        reads_a_cell = parts[0] == "head" or (parts[2:3] in (["first"], ["second"]) and value.dim() == 4)
        reads_the_stem = (
            (parts[1], parts[2]) in {("0", "first"), ("0", "second"), ("1", "first")} if parts[2:] else False
        )
        if reads_a_cell and not reads_the_stem and value.dim() > 1:
            blocks = value.chunk(4, dim=1)
            value = torch.cat([blocks[node - 2] for node in order], dim=1)  # noqa: PLW2901
        found[".".join(parts)] = value
    return found


# ---------------------------------------------------------------- features


def test_features_of_published_cells_told_by_hand() -> None:
    features = SPACE.features(SPACE.from_genotype(V2))
    normal = {name: value for name, value in features.items() if name.startswith("normal") and value}
    assert normal == {
        "normal_live_sep_conv_3x3": 5, "normal_live_skip_connect": 2, "normal_live_dil_conv_3x3": 1,
        "normal_paths": pytest.approx(np.log2(1 + 2 + 2 + 2 + 3)),
        "normal_depth": 3,  # a separable convolution is two, and a dilated one reads it
        "normal_identity": 1,
        "normal_field": 9,
    }  # fmt: skip


def test_features_always_have_the_same_names() -> None:
    assert isinstance(SPACE, Structured)
    assert len({tuple(SPACE.features(architecture)) for architecture in some(SPACE, 20)}) == 1


# ---------------------------------------------------------------- networks


def test_networks_train_on_real_images(fashion: Rows, cifar: Rows) -> None:
    for x, target in (fashion, cifar):
        space = Darts(images(*x.shape[1:]), channels=2, cells=3)
        for architecture in some(space, 2):
            trains_one_step(space.build(architecture), [x], target)


@warns_of_itself
def test_a_network_exports(cifar: Rows) -> None:
    x, _ = cifar
    space = Darts(images(*x.shape[1:]), channels=2, cells=3)
    exports(space.build(some(space, 1)[0]), [x])


@pytest.mark.slow
@warns_of_itself
def test_a_random_sample_exports(fashion: Rows) -> None:
    x, _ = fashion
    space = Darts(images(*x.shape[1:]), channels=2, cells=5)
    for architecture in some(space, 5):
        exports(space.build(architecture), [x])


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 2}, "cells: must be an integer >= 3, so that there are cells of both kinds, got 2"),
        ({"cells": 8.0}, "cells: must be an integer >= 3"),
        ({"channels": 1}, "channels: must be an integer >= 2, got 1"),
        ({"operations": ["none"]}, "operations: unknown name 'none'"),
        ({"operations": ["skip_connect"] * 2}, "operations: must not name an option twice, got 'skip_connect' again"),
    ],
)
def test_an_option_out_of_range_is_refused_by_value_and_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Darts(images(3, 32, 32), **options)


def test_a_signature_that_is_no_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"darts: needs one float32 input .* got float32 \(5,\)"):
        Darts(images(5))


def test_an_invalid_architecture_is_not_built() -> None:
    with pytest.raises(InputError, match=r"architecture\.normal_2_first"):
        SPACE.build((7, *SPACE.from_genotype(V2)[1:]))
