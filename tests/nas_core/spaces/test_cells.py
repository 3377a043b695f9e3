from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas_core.spaces._cells import (
    NAS_BENCH_201_EDGES,
    CellEdge,
    DartsNetwork,
    NasBench201Cell,
    NasBench201Network,
    nas_bench_201_network,
    thirds,
)
from nas_core.spaces._graph import live_edges
from nas_core.types import Port, Signature
from tests.nas_core.spaces.conftest import Rows
from tests.nas_core.spaces.networks import exports, trains_one_step, warns_of_itself

CONV, WIDE, SKIP, POOL, NONE = "nor_conv_1x1", "nor_conv_3x3", "skip_connect", "avg_pool_3x3", "none"


def images(*shape: int, classes: int = 10) -> Signature:
    return Signature(
        inputs=(Port(name="image", shape=shape),), outputs=(Port(name="class", shape=(classes,), classes=classes),)
    )


def whole(operations: Sequence[str]) -> list[CellEdge]:
    """All operations of a cell, dead ones too."""
    named = zip(NAS_BENCH_201_EDGES, operations, strict=True)
    return [CellEdge(*edge, name) for edge, name in named if name != NONE]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: nn.Module, shape: tuple[int, ...]) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, *shape))
    return counter.get_total_flops() / 2


# ---------------------------------------------------------------- NAS-Bench-201


@pytest.fixture
def sample(data: Path) -> list[tuple[list[str], dict[str, int]]]:
    """Cells of the benchmark, drawn at random, with its own figures for CIFAR-10."""
    with np.load(data / "nb201.npz", allow_pickle=False) as table:
        names = [name.decode() for name in table["op_names"]]
        rows = np.random.default_rng(0).choice(len(table["ops"]), 6, replace=False)
        figures = {name: table[f"cifar10/{name}"] for name in ("params", "flops")}
        return [
            ([names[k] for k in table["ops"][row]], {name: int(values[row]) for name, values in figures.items()})
            for row in rows
        ]


def test_parameters_and_macs_are_those_of_the_benchmark(sample: list[tuple[list[str], dict[str, int]]]) -> None:
    """The benchmark builds dead operations too, and counts them; its `flops` are multiply-accumulates."""
    for operations, published in sample:
        network = NasBench201Network(images(3, 32, 32), whole(operations), channels=16, cells=5)
        assert {"params": parameters(network), "flops": macs(network, (3, 32, 32))} == published


def test_what_is_built_is_never_more_than_the_benchmark_has(sample: list[tuple[list[str], dict[str, int]]]) -> None:
    built = [parameters(nas_bench_201_network(images(3, 32, 32), operations)) for operations, _ in sample]
    published = [figures["params"] for _, figures in sample]
    assert all(mine <= theirs for mine, theirs in zip(built, published, strict=True))
    assert built != published


def test_a_cell_adds_up_at_its_nodes() -> None:
    torch.manual_seed(0)
    cell = NasBench201Cell(whole([WIDE, SKIP, POOL, CONV, WIDE, SKIP]), 4).eval()
    x = torch.randn(2, 4, 6, 6)
    edge: dict[str, Any] = dict(cell.edges.items())
    node1 = edge["0_1"](x)
    node2 = x + nn.functional.avg_pool2d(node1, 3, 1, 1, count_include_pad=False)
    torch.testing.assert_close(cell(x), edge["0_3"](x) + edge["1_3"](node1) + node2)


@pytest.mark.parametrize(
    ("operations", "alive"),
    [
        ([CONV, CONV, CONV, CONV, CONV, CONV], {"0_1", "0_2", "1_2", "0_3", "1_3", "2_3"}),
        ([CONV, NONE, NONE, SKIP, NONE, POOL], {"0_3"}),
        ([NONE, NONE, CONV, NONE, CONV, CONV], set()),
        ([CONV, NONE, CONV, NONE, NONE, CONV], {"0_1", "1_2", "2_3"}),
        ([NONE, SKIP, CONV, NONE, CONV, CONV], {"0_2", "2_3"}),
    ],
)
def test_only_edges_between_input_and_output_are_built(operations: list[str], alive: set[str]) -> None:
    assert set(NasBench201Cell(live_edges(whole(operations), [0], 3), 4).edges) == alive


def constants(cell: nn.Module) -> None:
    """Give normalisations an offset, as training does."""
    for module in cell.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)


def test_what_leads_nowhere_adds_nothing() -> None:
    cell = NasBench201Cell(edges := whole([CONV, WIDE, CONV, SKIP, NONE, NONE]), 4).eval()
    constants(cell)
    lean = NasBench201Cell(live_edges(edges, [0], 3), 4).eval()
    lean.load_state_dict({key: value for key, value in cell.state_dict().items() if key in lean.state_dict()})
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(cell(x), lean(x))


def test_what_comes_from_nowhere_adds_a_constant_per_channel() -> None:
    cell = NasBench201Cell(edges := whole([NONE, CONV, WIDE, SKIP, WIDE, CONV]), 4).eval()
    lean = NasBench201Cell(live_edges(edges, [0], 3), 4).eval()
    constants(cell.edges["1_3"])
    lean.load_state_dict({key: value for key, value in cell.state_dict().items() if key in lean.state_dict()})
    x = torch.randn(2, 4, 6, 6)
    difference = cell(x) - lean(x)
    torch.testing.assert_close(difference, difference[:1, :, :1, :1].expand_as(difference))
    assert difference.abs().max() > 0.1


def test_a_cell_without_a_path_answers_all_rows_alike_and_can_be_trained() -> None:
    network = nas_bench_201_network(images(3, 8, 8), [NONE, CONV, WIDE, NONE, SKIP, NONE], channels=4, cells=1)
    x = torch.randn(4, 3, 8, 8)
    trains_one_step(network, [x], torch.tensor([0, 1, 1, 1]))
    logits = network.eval()(x)
    assert torch.equal(logits, logits[:1].expand_as(logits))


def test_the_keys_of_an_edge_do_not_depend_on_the_others() -> None:
    lone = nas_bench_201_network(images(3, 8, 8), [NONE, NONE, NONE, CONV, NONE, NONE], channels=4, cells=2)
    full = nas_bench_201_network(images(3, 8, 8), [CONV] * 6, channels=4, cells=2)
    assert "cells.0.edges.0_3.nor_conv_1x1.1.weight" in lone.state_dict()
    assert lone.state_dict().keys() < full.state_dict().keys()


def test_stages_have_c_2c_and_4c_channels_and_cells_each() -> None:
    network = NasBench201Network(images(3, 32, 32), [CellEdge(0, 3, SKIP)], channels=8, cells=2)
    maps: list[tuple[int, ...]] = []
    for layer in network.cells:
        layer.register_forward_hook(lambda *call: maps.append(tuple(call[-1].shape[1:])))
    network(torch.randn(2, 3, 32, 32))
    assert maps == [*[(8, 32, 32)] * 2, *[(16, 16, 16)] * 3, *[(32, 8, 8)] * 3]


@warns_of_itself
def test_a_network_exports_and_an_odd_image_is_no_matter() -> None:
    operations = [WIDE, CONV, POOL, NONE, SKIP, CONV]
    network = nas_bench_201_network(images(1, 9, 11), operations, channels=4, cells=1)
    exports(network, [torch.randn(5, 1, 9, 11)])


def test_networks_train_on_real_images(fashion: Rows, cifar: Rows) -> None:
    rng = np.random.default_rng(0)
    for x, target in (fashion, cifar):
        for _ in range(3):
            operations = rng.choice([CONV, WIDE, SKIP, POOL, NONE], 6).tolist()
            network = nas_bench_201_network(images(*x.shape[1:]), operations, channels=4, cells=1)
            trains_one_step(network, [x], target)


# ---------------------------------------------------------------- DARTS

PLAIN = [CellEdge(source, node, SKIP) for node in range(2, 6) for source in (0, 1)]


def shapes(cells: int, side: int = 32) -> list[tuple[int, ...]]:
    """The output of each cell of a network of 4 channels."""
    network = DartsNetwork(images(3, side, side), PLAIN, PLAIN, channels=4, cells=cells)
    maps: list[tuple[int, ...]] = []
    for cell in network.cells:
        cell.register_forward_hook(lambda *call: maps.append(tuple(call[-1].shape[1:])))
    network(torch.randn(2, 3, side, side))
    return maps


def test_reductions_are_a_third_and_two_thirds_of_the_way() -> None:
    assert [thirds(depth) for depth in (1, 2, 3, 8, 20)] == [{0}, {0, 1}, {1, 2}, {2, 5}, {6, 13}]
    assert shapes(5) == [(16, 32, 32), (32, 16, 16), (32, 16, 16), (64, 8, 8), (64, 8, 8)]


def test_maps_of_odd_size_are_halved_rounding_up() -> None:
    assert [side for _, side, _ in shapes(5, side=9)] == [9, 5, 5, 3, 3]


def test_each_cell_reads_the_two_before_it() -> None:
    network = DartsNetwork(images(3, 8, 8), PLAIN, PLAIN, channels=4, cells=3)
    outputs: list[Tensor] = []
    read: list[tuple[Tensor, ...]] = []
    network.stem.register_forward_hook(lambda *call: outputs.append(call[-1]))
    for cell in network.cells:
        cell.register_forward_hook(lambda *call: (read.append(call[1]), outputs.append(call[-1]))[0])
    network(torch.randn(2, 3, 8, 8))
    for cell, (first, second) in enumerate(read):
        assert first is outputs[max(cell - 1, 0)]
        assert second is outputs[cell]
