from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nas_core.spaces._operations import OPERATIONS, Choice, FactorizedReduce, convolution, separable
from tests.nas_core.spaces.networks import exports, warns_of_itself


class Together(nn.Module):
    """All operations on one map, side by side."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.operations = nn.ModuleList(make(channels, stride) for make in OPERATIONS.values())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([operation(x) for operation in self.operations], dim=1)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(("stride", "size"), [(1, (8, 7)), (2, (4, 4))])
def test_an_operation_keeps_channels_and_divides_sides_rounding_up(
    name: str, stride: int, size: tuple[int, int]
) -> None:
    assert OPERATIONS[name](6, stride)(torch.randn(2, 6, 8, 7)).shape == (2, 6, *size)


@warns_of_itself
def test_every_operation_of_stride_two_exports_on_an_odd_map() -> None:
    exports(Together(2, stride=2), [torch.randn(5, 2, 7, 8)])


@pytest.mark.parametrize("size", [(6, 6), (7, 6), (7, 7)])
def test_a_factorized_reduction_sees_every_second_pixel_of_every_row(size: tuple[int, int]) -> None:
    """Those at (even, even) and at (odd, odd) places."""
    x = (1 + torch.rand(1, 1, *size)).requires_grad_()
    FactorizedReduce(1, 2).eval()(x).sum().backward()
    row, column = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    assert torch.equal(x.grad[0, 0] != 0, row % 2 == column % 2)


def test_few_channels_last_in_memory_are_no_matter() -> None:
    """Strided pointwise convolutions of torch 2.13 end the process here."""
    x = torch.randn(16, 2, 32, 32).contiguous(memory_format=torch.channels_last).requires_grad_()
    FactorizedReduce(2, 4)(x).square().sum().backward()
    assert x.grad.isfinite().all()


def test_average_pooling_does_not_count_what_is_outside() -> None:
    ones = torch.ones(1, 1, 5, 5)
    assert torch.equal(OPERATIONS["avg_pool_3x3"](1, 1)(ones), ones)


@pytest.mark.parametrize("name", ["nor_conv_3x3", "sep_conv_5x5", "dil_conv_3x3"])
def test_a_convolution_begins_with_a_relu_and_ends_with_a_normalisation(name: str) -> None:
    operation = OPERATIONS[name](3, 1)
    negative = operation.eval()(-torch.rand(2, 3, 6, 6))
    assert negative.abs().max() == 0
    rows = operation.train()(torch.randn(64, 3, 6, 6))
    torch.testing.assert_close(rows.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_a_separable_convolution_is_depthwise_then_pointwise() -> None:
    assert parameters(convolution(6, 8, 5)) == 25 * 6 * 8 + 2 * 8
    assert parameters(separable(6, 8, 5)) == 25 * 6 + 6 * 8 + 2 * 8


def reach(module: nn.Module) -> int:
    """The width of the square of pixels that one pixel of the output depends on."""
    for parameter in module.parameters():
        nn.init.ones_(parameter)
    x = torch.rand(1, 1, 21, 21, requires_grad=True)
    module.eval()(x)[0, 0, 10, 10].backward()
    columns = (x.grad[0, 0] != 0).any(dim=0).nonzero()
    return int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize(
    ("name", "width"), [("sep_conv_3x3", 5), ("sep_conv_5x5", 9), ("dil_conv_3x3", 5), ("dil_conv_5x5", 9)]
)
def test_an_operation_sees_the_width_that_its_name_says(name: str, width: int) -> None:
    assert reach(OPERATIONS[name](1, 1)) == width


def test_the_name_of_an_operation_is_part_of_the_keys() -> None:
    place = Choice({"nor_conv_1x1": OPERATIONS["nor_conv_1x1"](4, 1)})
    assert "nor_conv_1x1.1.weight" in place.state_dict()
