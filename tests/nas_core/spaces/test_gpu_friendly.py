from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.spaces.gpu_friendly import GpuFriendly
from nas_core.types import Port, Signature
from tests.nas_core.spaces import networks

LIGHT: dict[str, Any] = {"multiple": 8, "widths": (16, 24), "stem_width": 8, "stages": 2}


def signature(*shape: int) -> Signature:
    return Signature(inputs=(Port(name="image", shape=shape),), outputs=(Port(name="target", shape=(10,), classes=10),))


def built(space: GpuFriendly, n: int) -> Iterator[nn.Module]:
    rng = np.random.default_rng(0)
    for _ in range(n):
        yield space.build(algebra.sample(space, rng))


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize(("options", "multiple"), [({"depths": (1,)}, 64), (LIGHT, 8), ({**LIGHT, "growth": 1.4}, 8)])
def test_all_channels_behind_the_image_are_multiples(options: dict[str, Any], multiple: int) -> None:
    for network in built(GpuFriendly(signature(3, 32, 32), **options), 6):
        first, *rest = convolutions(network)
        assert first.in_channels == 3
        assert first.out_channels % multiple == 0
        assert all(layer.in_channels % multiple == layer.out_channels % multiple == 0 for layer in rest)


def test_convolutions_are_full_and_there_are_no_other_operations_but_relu() -> None:
    """Depthwise convolutions, gates and SiLU move much memory for little arithmetic."""
    for network in built(GpuFriendly(signature(3, 32, 32), **LIGHT), 20):
        assert {layer.groups for layer in convolutions(network)} == {1}
        leaves = {type(module).__name__ for module in network.modules() if not [*module.children()]}
        assert leaves <= {"Conv2d", "BatchNorm2d", "ReLU", "Identity", "Linear", "Dropout"}


@pytest.mark.parametrize("side", [16, 32, 64])
def test_maps_are_halved_first_and_then_keep_one_shape(side: int) -> None:
    (network,) = built(GpuFriendly(signature(3, side, side), stages=4, depths=(1,), widths=(64,)), 1)
    strides = [layer.stride[0] for layer in convolutions(network) if layer.kernel_size != (1, 1)]
    halvings = [stride for stride in strides if stride == 2]
    assert 2 ** len(halvings) == side // 4
    x = torch.zeros(1, 3, side, side)
    shapes = []
    for block in network.blocks:
        x = block(x)
        shapes.append(tuple(x.shape[2:]))
    assert shapes[len(halvings) - 1 :] == [(4, 4)] * (len(shapes) - len(halvings) + 1)


def test_gates_come_only_if_asked_for() -> None:
    space = GpuFriendly(signature(3, 16, 16), **LIGHT, squeeze_excite=(0.25,))
    assert any(type(module).__name__ == "SqueezeExcite" for network in built(space, 1) for module in network.modules())


@networks.warns_of_itself
def test_networks_train_on_images_and_export(data: Path) -> None:
    with np.load(data / "fashion_mnist_small.npz", allow_pickle=False) as file:
        images: Tensor = torch.from_numpy(file["x_train"][:30, None] / np.float32(255))
        labels = torch.from_numpy(file["y_train"][:30].astype(np.int64))
    torch.manual_seed(0)
    for network in built(GpuFriendly(signature(1, 28, 28), **LIGHT), 3):
        networks.trains_one_step(network, [images], labels)
    networks.exports(network, [images])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"multiple": 12}, "multiple: must be a multiple of 8, got 12"),
        ({"widths": [96]}, "widths: must be multiples of 64, got 96"),
        ({"stem_width": 16}, "stem_width: must be a multiple of 64, got 16"),
        ({"stem_width": 0}, "stem_width: must be an integer >= 1, got 0"),
        ({"head_width": 100}, "head_width: must be a multiple of 64, got 100"),
        ({"blocks": ["inverted"]}, "blocks: unknown name 'inverted', expected one of fused, residual"),
    ],
)
def test_an_option_that_a_gpu_dislikes_is_refused_by_value_and_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GpuFriendly(signature(3, 16, 16), **options)
