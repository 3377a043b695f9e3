from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import Structured
from nas_core.spaces._macro import MacroLayer, MacroNetwork
from nas_core.spaces.macro import Macro
from nas_core.types import Architecture, Port, Signature
from tests.nas_core.spaces.conftest import Rows
from tests.nas_core.spaces.networks import exports, trains_one_step, warns_of_itself


def images(*shape: int, classes: int = 10) -> Signature:
    return Signature(
        inputs=(Port(name="image", shape=shape),), outputs=(Port(name="class", shape=(classes,), classes=classes),)
    )


def some(space: Macro, n: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [algebra.sample(space, rng) for _ in range(n)]


def chosen(space: Macro, **choice: str) -> Architecture:
    """The architecture with these options; elsewhere the first one."""
    return tuple(d.options.index(choice.get(d.name, d.options[0])) for d in space.decisions)


# ---------------------------------------------------------------- decisions


def test_the_decisions_of_three_layers() -> None:
    assert [decision.name for decision in Macro(images(3, 32, 32), max_layers=3).decisions] == [
        "layers",
        "operation_1",
        "operation_2", "skip_1_2",
        "operation_3", "skip_1_3", "skip_2_3",
    ]  # fmt: skip


def test_the_size_is_the_one_in_the_paper_summed_over_depths() -> None:
    """Pham et al. 2018, section 2.3: 6^L * 2^(L (L - 1) / 2) networks of L layers."""
    expected = sum(6**depth * 2 ** (depth * (depth - 1) // 2) for depth in range(1, 13))
    assert algebra.size(Macro(images(3, 32, 32), max_layers=12)) == expected


def test_only_layers_that_exist_are_decided_on() -> None:
    space = Macro(images(3, 32, 32), max_layers=4)
    assert list(algebra.describe(space, chosen(space, layers="2"))) == [
        "layers",
        "operation_1",
        "operation_2",
        "skip_1_2",
    ]


def test_decisions_do_not_depend_on_width_or_image() -> None:
    narrow, wide = Macro(images(1, 28, 28), channels=4), Macro(images(3, 32, 32), channels=36)
    assert algebra.digest(narrow) == algebra.digest(wide)


def test_operations_can_be_narrowed_down() -> None:
    space = Macro(images(3, 32, 32), max_layers=2, operations=["conv_3x3", "max_pool_3x3"])
    assert algebra.size(space) == 2 + 2**2 * 2
    assert space.decisions[1].attributes == ((2.0, 3.0), (1.0, 3.0))


def test_the_decisions_load_no_torch() -> None:
    code = "import sys, nas_core.spaces.macro; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- features


def test_features_of_a_network_told_by_hand() -> None:
    space = Macro(images(3, 32, 32), max_layers=4)
    architecture = chosen(
        space,
        layers="3",
        operation_1="conv_5x5",
        operation_2="avg_pool_3x3",
        operation_3="sep_conv_3x3",
        skip_1_3="yes",
    )
    features = {name: value for name, value in space.features(architecture).items() if value}
    assert features == {
        "layers": 3, "live_conv_5x5": 1, "live_avg_pool_3x3": 1, "live_sep_conv_3x3": 1, "live_skip": 1,
        "paths": pytest.approx(np.log2(1 + 2)),
        "depth": 2 + 1 + 2 + 1,  # the third layer merges what it made with what it skipped to
        "field": 5 + 2 + 2,
    }  # fmt: skip


def test_features_always_have_the_same_names() -> None:
    space = Macro(images(3, 32, 32))
    assert isinstance(space, Structured)
    assert len({tuple(space.features(architecture)) for architecture in some(space, 20)}) == 1


# ---------------------------------------------------------------- networks


def test_a_skip_is_merged_as_one_convolution_of_maps_side_by_side() -> None:
    torch.manual_seed(0)
    layer = MacroLayer(["max_pool_3x3"], [1, 2], 3).eval()
    before, maps = torch.randn(2, 3, 5, 5), {1: torch.randn(2, 3, 5, 5), 2: torch.randn(2, 3, 5, 5)}
    together = torch.cat([layer.operation(before), maps[1], maps[2]], dim=1).relu()
    weight = torch.cat([layer.own[1].weight, layer.skips["1"][1].weight, layer.skips["2"][1].weight], dim=1)
    expected = layer.norm(torch.nn.functional.conv2d(together, weight))
    torch.testing.assert_close(layer(before, maps), expected)


def test_maps_are_halved_and_widened_a_third_and_two_thirds_of_the_way() -> None:
    network = MacroNetwork(images(3, 32, 32), [(["conv_3x3"], [])] * 6, 4)
    maps: list[tuple[int, ...]] = []
    for layer in network.layers:
        layer.register_forward_hook(lambda *call: maps.append(tuple(call[-1].shape[1:])))
    network(torch.randn(2, 3, 32, 32))
    assert maps == [*[(4, 32, 32)] * 2, *[(8, 16, 16)] * 2, *[(16, 8, 8)] * 2]


def test_only_maps_that_are_still_read_are_halved() -> None:
    layers = [
        (["conv_3x3"], []),
        (["conv_3x3"], []),
        (["conv_3x3"], []),
        (["conv_3x3"], [1]),
        (["conv_3x3"], [4]),
        (["conv_3x3"], []),
    ]
    network = MacroNetwork(images(3, 32, 32), layers, 4)
    assert {place: list(halvings) for place, halvings in network.halvings.items()} == {"3": ["1", "2"], "5": ["4"]}


def test_every_edit_changes_the_network() -> None:
    space = Macro(images(1, 8, 8), max_layers=3, operations=["sep_conv_3x3", "avg_pool_3x3"], channels=2)
    x = torch.randn(2, 1, 8, 8)

    def answer(architecture: Architecture) -> torch.Tensor:
        torch.manual_seed(0)
        logits: torch.Tensor = space.build(architecture).eval()(x)
        return logits

    for architecture in some(space, 2):
        before = answer(architecture)
        for other in algebra.neighbours(space, architecture):
            assert not torch.equal(before, answer(other)), algebra.describe(space, other)


def test_networks_train_on_real_images(fashion: Rows, cifar: Rows) -> None:
    for x, target in (fashion, cifar):
        space = Macro(images(*x.shape[1:]), max_layers=5, channels=4)
        for architecture in some(space, 3):
            trains_one_step(space.build(architecture), [x], target)


@warns_of_itself
def test_a_network_with_all_operations_and_skips_exports(cifar: Rows) -> None:
    x, _ = cifar
    space = Macro(images(*x.shape[1:]), max_layers=4, channels=2)
    architecture = chosen(
        space, layers="4", operation_1="conv_5x5", operation_2="sep_conv_3x3", operation_3="max_pool_3x3",
        operation_4="sep_conv_5x5", skip_1_2="yes", skip_1_4="yes", skip_2_4="yes",
    )  # fmt: skip
    exports(space.build(architecture), [x])


@pytest.mark.slow
@warns_of_itself
def test_a_random_sample_exports(fashion: Rows) -> None:
    x, _ = fashion
    space = Macro(images(*x.shape[1:]), channels=4)
    for architecture in some(space, 5):
        exports(space.build(architecture), [x])


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_layers": 0}, "max_layers: must be an integer from 1 to 24, got 0"),
        ({"max_layers": 25}, "max_layers: must be an integer from 1 to 24, got 25"),
        ({"channels": 0}, "channels: must be an integer >= 1, got 0"),
        ({"operations": ["conv_7x7"]}, "operations: unknown name 'conv_7x7', .*did you mean"),
        ({"operations": []}, r"operations: must be a list of one or more values, got \[\]"),
    ],
)
def test_an_option_out_of_range_is_refused_by_value_and_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Macro(images(3, 32, 32), **options)


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (images(3, 7, 32), r"macro: needs one float32 input .* of 8 pixels or more, got float32 \(3, 7, 32\)"),
        (images(-1, 32, 32), r"got float32 \(-1, 32, 32\)"),
        (images(32), r"got float32 \(32,\)"),
        (Signature(inputs=(), outputs=images(3, 8, 8).outputs), "got none"),
        (
            Signature(inputs=(Port(name="x", shape=(3, 8, 8), dtype="int64", classes=9),), outputs=images(8).outputs),
            r"got int64 \(3, 8, 8\)",
        ),
        (Signature(inputs=images(3, 8, 8).inputs * 2, outputs=images(8).outputs), r"got float32 .*, float32 .*"),
        (
            Signature(inputs=images(3, 8, 8).inputs, outputs=()),
            r"one output port of shape \(classes,\), got shapes \[\]",
        ),
    ],
)
def test_a_signature_that_is_no_image_is_refused(signature: Signature, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Macro(signature)


def test_an_invalid_architecture_is_not_built() -> None:
    with pytest.raises(InputError, match=r"architecture\.operation_1"):
        Macro(images(3, 32, 32), max_layers=1).build((0, 9))
