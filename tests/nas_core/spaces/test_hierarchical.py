from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_core import space as algebra
from nas_core.decisions import check_decisions
from nas_core.errors import InputError
from nas_core.estimators.cost import cost
from nas_core.interfaces import Structured
from nas_core.spaces._block_plans import Block, Convolution, Kind, block, cost_of, dense, total
from nas_core.spaces._blocks import PlannedBlock, SqueezeExcite
from nas_core.spaces.edge import Edge
from nas_core.spaces.gpu_friendly import GpuFriendly
from nas_core.spaces.hierarchical import Hierarchical
from nas_core.tasks.image import Image
from nas_core.types import Port, Signature
from tests.nas_core.spaces import networks

Array = NDArray[np.float64]
SMALL: dict[str, Any] = {"stages": 2, "depths": (1, 2), "widths": (8, 16), "stem_width": 8, "head_width": 24}
TARGET = Port(name="target", shape=(10,), classes=10)


def signature(*shape: int) -> Signature:
    return Signature(inputs=(Port(name="image", shape=shape),), outputs=(TARGET,))


def samples(space: Hierarchical, n: int, seed: int = 0) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    return [algebra.sample(space, rng) for _ in range(n)]


@pytest.fixture
def fashion(data: Path) -> tuple[Tensor, Tensor]:
    """Thirty images of Fashion-MNIST and their classes."""
    with np.load(data / "fashion_mnist_small.npz", allow_pickle=False) as file:
        images, labels = file["x_train"][:30, None] / np.float32(255), file["y_train"][:30]
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))


# ---------------------------------------------------------------- decisions


def test_each_stage_has_its_decisions_and_the_activation_is_shared() -> None:
    space = Hierarchical(signature(1, 28, 28), stages=2)
    each = ["block", "depth", "width", "kernel", "squeeze", "expansion"]
    names = [decision.name for decision in space.decisions]
    assert names == [*(f"{name}_1" for name in each), *(f"{name}_2" for name in each), "activation"]
    check_decisions(space.decisions)
    assert isinstance(space, Structured)


def test_numbers_rise_and_are_attributes_whatever_their_order_in_the_spec() -> None:
    space = Hierarchical(signature(1, 28, 28), widths=(32, 16), kernels=(7, 3), depths=(4, 2), squeeze_excite=(0.5, 0))
    decisions = {decision.name: decision for decision in space.decisions}
    assert decisions["width_1"].options == ("16", "32")
    assert decisions["width_2"].attributes == ((32.0,), (64.0,))
    assert decisions["kernel_1"].options == ("3", "7")
    assert decisions["depth_1"].options == ("2", "4")
    assert decisions["squeeze_1"].options == ("0.0", "0.5")


def test_a_kind_says_whether_it_is_depthwise_and_whether_it_expands() -> None:
    kinds = Hierarchical(signature(1, 28, 28), blocks=("fused", "residual", "inverted", "separable")).decisions[0]
    assert dict(zip(kinds.options, kinds.attributes, strict=True)) == {
        "separable": (1.0, 0.0),
        "inverted": (1.0, 1.0),
        "residual": (0.0, 0.0),
        "fused": (0.0, 1.0),
    }


def test_only_kinds_that_expand_have_an_expansion() -> None:
    space = Hierarchical(signature(1, 28, 28))
    for architecture in samples(space, 50):
        choice = algebra.describe(space, architecture)
        for stage in (1, 2, 3):
            assert (f"expansion_{stage}" in choice) == (choice[f"block_{stage}"] in {"inverted", "fused"})
    plain = Hierarchical(signature(1, 28, 28), blocks=("separable", "residual"))
    assert not [decision for decision in plain.decisions if decision.name.startswith("expansion")]


def test_the_size_counts_conditions() -> None:
    space = Hierarchical(signature(1, 28, 28), stages=2, activations=("relu",))
    stage = 3 * 3 * 2 * 2 * (1 + 3 + 1 + 3)  # depth, width, kernel, gate, kind with or without expansion
    assert algebra.size(space) == stage**2


@pytest.mark.parametrize(("growth", "multiple"), [(1.0, 8), (1.5, 8), (1.9, 4), (2.0, 8), (1.01, 1)])
def test_widths_grow_and_stay_distinct_multiples(growth: float, multiple: int) -> None:
    widths = [multiple * i for i in range(1, 6)]
    space = Hierarchical(signature(1, 28, 28), stages=4, widths=widths, growth=growth, multiple=multiple)
    for stage in range(4):
        (decision,) = (d for d in space.decisions if d.name == f"width_{stage + 1}")
        found = [int(option) for option in decision.options]
        assert len(set(found)) == len(widths)
        for width, each in zip(found, widths, strict=True):
            assert width % multiple == 0
            assert abs(width - each * growth**stage) <= multiple / 2


# ---------------------------------------------------------------- what networks cost


def stack(stem: int, stages: list[tuple[Kind, int, int, int, int, int]], squeeze: float = 0.0) -> list[Block]:
    """Return blocks for rows of (kind, expansion, width, number, stride, kernel)."""
    blocks, before = [], stem
    for kind, expansion, after, number, stride, kernel in stages:
        for i in range(number):
            first = 1 if i else stride
            blocks.append(block(kind, before, after, kernel=kernel, stride=first, expansion=expansion, squeeze=squeeze))
            before = after
    return blocks


MOBILENET_V2 = stack(32, [
    ("separable", 1, 16, 1, 1, 3), ("inverted", 6, 24, 2, 2, 3), ("inverted", 6, 32, 3, 2, 3),
    ("inverted", 6, 64, 4, 2, 3), ("inverted", 6, 96, 3, 1, 3), ("inverted", 6, 160, 3, 2, 3),
    ("inverted", 6, 320, 1, 1, 3),
])  # fmt: skip
MNASNET_B1 = stack(32, [
    ("separable", 1, 16, 1, 1, 3), ("inverted", 3, 24, 3, 2, 3), ("inverted", 3, 40, 3, 2, 5),
    ("inverted", 6, 80, 3, 2, 5), ("inverted", 6, 96, 2, 1, 3), ("inverted", 6, 192, 4, 2, 5),
    ("inverted", 6, 320, 1, 1, 3),
])  # fmt: skip
EFFICIENTNET_B0 = stack(32, [
    ("separable", 1, 16, 1, 1, 3), ("inverted", 6, 24, 2, 2, 3), ("inverted", 6, 40, 2, 2, 5),
    ("inverted", 6, 80, 3, 2, 3), ("inverted", 6, 112, 3, 1, 5), ("inverted", 6, 192, 4, 2, 5),
    ("inverted", 6, 320, 1, 1, 3),
], squeeze=0.25)  # fmt: skip
EFFICIENTNET_V2_S = [
    *[Block((Convolution(24, 24, 3),), shortcut=True)] * 2,
    *stack(24, [("fused", 4, 48, 4, 2, 3), ("fused", 4, 64, 4, 2, 3)]),
    *stack(64, [("inverted", 4, 128, 6, 2, 3), ("inverted", 6, 160, 9, 1, 3), ("inverted", 6, 256, 15, 2, 3)], 0.25),
]


@pytest.mark.parametrize(
    ("blocks", "params", "side", "giga_macs"),
    [
        pytest.param(MOBILENET_V2, 3_504_872, 224, 0.301, id="MobileNetV2"),
        pytest.param(MNASNET_B1, 4_383_312, 224, 0.314, id="MnasNet-B1"),
        pytest.param(EFFICIENTNET_B0, 5_288_548, 224, 0.386, id="EfficientNet-B0"),
        pytest.param(EFFICIENTNET_V2_S, 21_458_488, 384, 8.366, id="EfficientNetV2-S"),
    ],
)
def test_published_networks_are_such_stacks(blocks: list[Block], params: int, side: int, giga_macs: float) -> None:
    """Parameters, and multiply-accumulates for images of `side` pixels, are as torchvision's documentation has them."""
    first = next(layer.before for layer in blocks[0].layers if isinstance(layer, Convolution))
    last = [layer.after for layer in blocks[-1].layers if isinstance(layer, Convolution)][-1]
    whole = [Block((Convolution(3, first, 3, 2),)), *blocks, Block((Convolution(last, 1280),))]
    found = total((cost_of(whole, [(side, side)]), dense(1280, 1000)))
    assert found.params == params
    assert round(found.macs / 1e9, 3) == giga_macs


@pytest.mark.parametrize("make", [Hierarchical, Edge, GpuFriendly])
def test_the_cost_is_that_of_the_built_network(make: Any, fashion: tuple[Tensor, Tensor]) -> None:
    images, labels = (tensor.numpy() for tensor in fashion)
    space = make(signature(1, 28, 28))
    task = Image(signature(1, 28, 28), {"train": ((images,), labels)})
    for architecture in samples(space, 6):
        built = cost(space.build(architecture), task, "train")
        assert space.cost(architecture) == (built["params"], built["macs"])


def test_the_cost_of_images_of_odd_sizes_is_exact_too() -> None:
    space = Hierarchical(signature(3, 37, 50), squeeze_excite=(0.25,))
    task = Image(signature(3, 37, 50), {"train": ((np.zeros((1, 3, 37, 50), np.float32),), np.zeros(1, np.int64))})
    for architecture in samples(space, 4):
        built = cost(space.build(architecture), task, "train")
        assert space.cost(architecture) == (built["params"], built["macs"])


def test_features_tell_depth_and_cost() -> None:
    space = Hierarchical(signature(1, 28, 28))
    for architecture in samples(space, 5):
        choice = algebra.describe(space, architecture)
        assert space.features(architecture) == {
            "blocks": sum(float(choice[f"depth_{stage}"]) for stage in (1, 2, 3)),
            "log_params": math.log(space.cost(architecture).params),
            "log_macs": math.log(space.cost(architecture).macs),
        }


# ---------------------------------------------------------------- blocks, beside arithmetic without torch


def convolved(x: Array, weight: Array, stride: int, groups: int) -> Array:
    """Return the cross-correlation of x (c, h, w), padded by half the kernel, by its definition."""
    after, within, kernel, _ = weight.shape
    padded = np.pad(x, ((0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2))
    height, width = (math.ceil(n / stride) for n in x.shape[1:])
    y = np.zeros((after, height, width))
    for out in range(after):
        first = out // (after // groups) * within
        for row in range(height):
            for column in range(width):
                top, left = row * stride, column * stride
                patch = padded[first : first + within, top : top + kernel, left : left + kernel]
                y[out, row, column] = (patch * weight[out]).sum()
    return y


def computed(network: PlannedBlock, plan: Block, x: Array) -> Array:
    """Return what `plan` means for x (c, h, w), with the weights of `network` and ReLU."""

    def numbers(tensor: Tensor) -> Array:
        return tensor.detach().double().numpy()

    y = x
    for layer, module in zip(plan.layers, network.layers, strict=True):
        if isinstance(layer, Convolution):
            norm = module.norms[0]
            y = convolved(y, numbers(module.convolution.weight), layer.stride, layer.groups)
            scale = numbers(norm.weight) / np.sqrt(numbers(norm.running_var) + norm.eps)
            y = (y - numbers(norm.running_mean)[:, None, None]) * scale[:, None, None]
            y = y + numbers(norm.bias)[:, None, None]
            y = np.maximum(y, 0) if layer.active else y
        else:
            assert isinstance(module, SqueezeExcite)
            gates = y.mean((1, 2))
            gates = np.maximum(numbers(module.squeeze.weight)[:, :, 0, 0] @ gates + numbers(module.squeeze.bias), 0)
            gates = numbers(module.excite.weight)[:, :, 0, 0] @ gates + numbers(module.excite.bias)
            y = y * np.clip(gates / 6 + 0.5, 0, 1)[:, None, None]
    y = y + x if plan.shortcut else y
    return np.maximum(y, 0) if plan.active else y


@pytest.mark.parametrize(("after", "stride"), [(4, 1), (6, 2)])
@pytest.mark.parametrize("squeeze", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["separable", "inverted", "residual", "fused"])
def test_a_block_computes_what_its_plan_says(kind: Kind, squeeze: float, after: int, stride: int) -> None:
    torch.manual_seed(0)
    plan = block(kind, 4, after, kernel=3, stride=stride, expansion=2, squeeze=squeeze)
    network = PlannedBlock(plan, "relu", tasks=1).eval()
    for tensor in network.state_dict().values():
        if tensor.dtype is torch.float32:
            tensor.uniform_(0.2, 1.0) if tensor.min() >= 0 else tensor.normal_()
    x = torch.randn(1, 4, 5, 7)
    with torch.no_grad():
        np.testing.assert_allclose(network(x)[0], computed(network, plan, x[0].double().numpy()), rtol=1e-4, atol=1e-4)
    assert plan.shortcut == (after == 4)


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 32, 32), (1, 20, 64)])
def test_networks_train_on_images(shape: tuple[int, ...], fashion: tuple[Tensor, Tensor]) -> None:
    images, labels = fashion
    resized = torch.nn.functional.interpolate(images, shape[1:]).repeat(1, shape[0], 1, 1)
    space = Hierarchical(signature(*shape), **SMALL)
    torch.manual_seed(0)
    for architecture in samples(space, 3, seed=sum(shape)):
        networks.trains_one_step(space.build(architecture), [resized], labels)


@networks.warns_of_itself
def test_networks_export(fashion: tuple[Tensor, Tensor]) -> None:
    """A network with every kind of block, with and without a gate."""
    images, _ = fashion
    space = Hierarchical(signature(1, 28, 28), **{**SMALL, "stages": 4, "depths": (1,)})
    architecture = next(a for a in samples(space, 999) if {a[6 * stage] for stage in range(4)} == {0, 1, 2, 3})
    assert {architecture[6 * stage + 4] for stage in range(4)} == {0, 1}
    torch.manual_seed(0)
    networks.exports(space.build(architecture), [images])


def test_every_edit_changes_the_network(fashion: tuple[Tensor, Tensor]) -> None:
    images, _ = fashion
    space = Hierarchical(signature(1, 28, 28), **SMALL, kernels=(3, 5), expansions=(2, 3))

    def answers(architecture: tuple[int, ...]) -> Tensor:
        torch.manual_seed(0)
        logits: Tensor = space.build(architecture)(images[:4])
        return logits

    for architecture in samples(space, 2):
        before = answers(architecture)
        for other in algebra.neighbours(space, architecture):
            assert not torch.equal(before, answers(other)), algebra.describe(space, other)


@pytest.mark.parametrize(
    ("shape", "early", "left"),
    [
        ((8, 8), (2, 1, 1, 1), (4, 4)),
        ((16, 16), (2, 2, 1, 1), (4, 4)),
        ((28, 28), (2, 2, 1, 1), (7, 7)),
        ((32, 32), (2, 2, 2, 1), (4, 4)),
        ((64, 64), (2, 2, 2, 2), (4, 4)),
        ((40, 53), (2, 2, 2, 1), (5, 7)),
        ((8, 100), (2, 1, 1, 1), (4, 50)),
        ((224, 224), (2, 2, 2, 2), (14, 14)),
    ],
)
def test_derived_strides_leave_four_pixels_or_a_little_more(
    shape: tuple[int, int], early: tuple[int, ...], left: tuple[int, int]
) -> None:
    for make, expected in ((Hierarchical, early[::-1]), (GpuFriendly, early)):
        space = make(signature(1, *shape), depths=(1,), widths=(64,), kernels=(3,), expansions=(1,))
        blocks = space.build((0,) * len(space.decisions)).blocks
        maps = []
        x = torch.zeros(1, 1, *shape)
        for each in blocks:
            x = each(x)
            maps.append(x.shape[2:])
        sides = [shape[0], *(height for height, _ in maps[:4])]
        assert tuple(math.ceil(a / b) for a, b in pairwise(sides)) == expected
        assert maps[-1] == left


def test_given_strides_are_taken() -> None:
    space = Hierarchical(signature(1, 28, 28), **SMALL, strides=(2, 1, 1))
    x = torch.zeros(1, 1, 28, 28)
    assert space.build(samples(space, 1)[0]).blocks(x).shape[2:] == (14, 14)


def test_without_a_last_convolution_the_classifier_sees_the_last_stage() -> None:
    space = Hierarchical(signature(1, 28, 28), **{**SMALL, "head_width": 0})
    for architecture in samples(space, 3):
        width = int(algebra.describe(space, architecture)["width_2"])
        assert space.build(architecture).head.layers[-1].in_features == width


def test_dropout_is_in_front_of_the_classifier() -> None:
    space = Hierarchical(signature(1, 28, 28), **SMALL, dropout=0.3)
    assert [module.p for module in space.build(samples(space, 1)[0]).modules() if hasattr(module, "p")] == [0.3]


def test_an_invalid_architecture_is_not_built() -> None:
    space = Hierarchical(signature(1, 28, 28), stages=1)
    with pytest.raises(InputError, match=r"architecture\.block_1"):
        space.build((9, 0, 0, 0, 0, 0, 0))


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ((Port(name="row", shape=(3,)),), (TARGET,), r"one float32 input of shape .*, got float32 \(3,\)"),
        ((Port(name="tiny", shape=(3, 32, 7)),), (TARGET,), r"sides of 8 pixels or more, got float32 \(3, 32, 7\)"),
        ((Port(name="image", shape=(3, 8, 8)),) * 2, (TARGET,), "one float32 input"),
        ((Port(name="image", shape=(3, 8, 8)),), (), "one output port"),
    ],
)
def test_a_signature_that_is_no_image_and_target_is_refused(
    inputs: tuple[Port, ...], outputs: tuple[Port, ...], message: str
) -> None:
    with pytest.raises(InputError, match=f"^hierarchical: needs .*{message}"):
        Hierarchical(Signature(inputs=inputs, outputs=outputs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": 0}, "stages: must be an integer from 1 to 8, got 0"),
        ({"stages": 9}, "stages: must be an integer from 1 to 8, got 9"),
        ({"depths": [0]}, "depths: must be integers >= 1, got 0"),
        ({"widths": [16, 20]}, "widths: must be multiples of 8, got 20"),
        ({"widths": []}, "widths: must be a list of one or more values"),
        ({"widths": [16, 16]}, "widths: must not name an option twice, got 16 again"),
        ({"growth": 0.5}, "growth: must be a number from 1 to 4, got 0.5"),
        ({"multiple": 0}, "multiple: must be an integer >= 1, got 0"),
        ({"kernels": [4]}, "kernels: must be odd integers >= 1, got 4"),
        ({"expansions": [0.5]}, "expansions: must be integers >= 1, got 0.5"),
        ({"squeeze_excite": [1.5]}, "squeeze_excite: must be numbers from 0 to 1, got 1.5"),
        ({"squeeze_excite": [math.nan]}, "squeeze_excite: must be numbers from 0 to 1, got nan"),
        ({"squeeze_excite": [0.25, 0, 0.26]}, "squeeze_excite: 0.25 and 0.26 of 16 channels are both 4; choose ratios"),
        ({"blocks": ["seperable"]}, "blocks: unknown name 'seperable', .*did you mean 'separable'"),
        ({"activations": ["gelu"]}, "activations: unknown name 'gelu', expected one of hardswish, relu, relu6, silu"),
        ({"stem_width": 0}, "stem_width: must be an integer >= 1, got 0"),
        ({"head_width": -1}, "head_width: must be an integer >= 0, got -1"),
        ({"dropout": 1.0}, "dropout: must be a number >= 0 and < 1, got 1.0"),
        ({"strides": [2, 1]}, r"strides: must be 4 numbers, each 1 or 2, .*, got \[2, 1\]"),
        ({"strides": [2, 1, 1, 3]}, r"strides: must be 4 numbers, each 1 or 2, .*, got \[2, 1, 1, 3\]"),
    ],
)
def test_an_option_out_of_range_is_refused_by_value_and_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Hierarchical(signature(3, 16, 16), **options)


@pytest.mark.parametrize("module", ["hierarchical", "gpu_friendly", "edge", "multi_task"])
def test_the_decisions_of_a_space_load_no_torch(module: str) -> None:
    code = f"import sys, nas_core.spaces.{module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
