"""NAS-Bench-201's cell as one pass over what leaves a node, against the sum of its modules."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from nas_core.interfaces import Gates
from nas_core.spaces._cells import NAS_BENCH_201_EDGES, NAS_BENCH_201_OPTIONS, CellEdge, NasBench201Cell
from nas_core.spaces._cells import nas_bench_201_plan as plan_of
from nas_core.spaces._shared_cells import _Pool

EVERYTHING = ((0, 1, 2, 3, 4),) * 6


def full_cell() -> NasBench201Cell:
    torch.manual_seed(0)
    edges = [
        CellEdge(*edge, name) for edge, name in product(NAS_BENCH_201_EDGES, NAS_BENCH_201_OPTIONS) if name != "none"
    ]
    cell = NasBench201Cell(edges, 4)
    for module in cell.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return cell


def by_modules(cell: NasBench201Cell, x: Tensor, weight: Tensor) -> Tensor:
    """The definition: at each node the sum, over what enters it, of the weighted sum of operations."""
    maps = [x, *(torch.zeros_like(x) for _ in range(3))]
    for (source, target), row in zip(NAS_BENCH_201_EDGES, weight, strict=True):
        for name, operation in cell.edges[f"{source}_{target}"].items():  # type: ignore[operator]
            maps[target] = maps[target] + row[NAS_BENCH_201_OPTIONS.index(name)] * operation(maps[source])
    return maps[3]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_a_mixture_is_the_weighted_sum_of_operations_and_so_are_its_gradients(training: bool) -> None:
    cell = full_cell().train(training).double()
    weight = torch.rand(6, 5, dtype=torch.double, requires_grad=True)
    x = torch.randn(3, 4, 6, 5, dtype=torch.double, requires_grad=True)
    given = (x, weight, *cell.parameters())
    shares = torch.randn(3, 4, 6, 5, dtype=torch.double)
    found = [
        [y, *torch.autograd.grad((y * shares).sum(), given)]
        for y in (cell(x, plan_of(Gates(EVERYTHING, weight.unbind()))), by_modules(cell, x, weight))
    ]
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected)


def test_an_edge_without_weights_counts_once_beside_weighted_ones() -> None:
    cell = full_cell().eval()
    x, half = torch.randn(2, 4, 5, 5), torch.full((5,), 0.5)
    mixed = cell(x, plan_of(Gates(EVERYTHING, (None, *[half] * 5))))
    ones = torch.ones(6, 5).index_fill_(0, torch.arange(1, 6), 0.5)
    torch.testing.assert_close(mixed, by_modules(cell, x, ones), rtol=1e-4, atol=1e-5)


def test_a_removed_slot_gives_nothing() -> None:
    cell = full_cell().eval()
    x = torch.randn(2, 4, 5, 5)
    removed = cell(x, plan_of(Gates((*EVERYTHING[:5], ()), (None,) * 6)))
    weight = torch.ones(6, 5)
    weight[5] = 0
    torch.testing.assert_close(removed, by_modules(cell, x, weight), rtol=1e-4, atol=1e-5)


def test_a_weight_that_is_not_live_has_no_gradient() -> None:
    cell = full_cell()
    weight = torch.ones(6, 5, requires_grad=True)
    cell(torch.randn(2, 4, 5, 5), plan_of(Gates(((3,),) * 6, weight.unbind()))).square().sum().backward()
    assert weight.grad is not None
    assert weight.grad[:, 3].all()
    assert weight.grad.count_nonzero() == 6


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 1, 1), (2, 2, 1, 3)])
def test_pooling_and_its_gradient_are_those_of_torch(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.double, requires_grad=True)
    expected = nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    torch.testing.assert_close(_Pool.apply(x), expected)
    assert torch.autograd.gradcheck(_Pool.apply, (x,))
