from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.estimators.cost import cost
from nas_core.interfaces import Structured
from nas_core.spaces._blocks import Head
from nas_core.spaces.multi_task import MultiTask as Space
from nas_core.tasks.multi_task import MultiTask as Task
from nas_core.types import Port, Signature
from tests.nas_core.spaces import networks

SMALL: dict[str, Any] = {"stages": 2, "depths": (1,), "widths": (8, 16), "stem_width": 8, "head_widths": (8, 16)}


def signature(*shapes: tuple[int, int, int]) -> Signature:
    return Signature(
        inputs=tuple(Port(name=f"image_{i}", shape=shape) for i, shape in enumerate(shapes)),
        outputs=tuple(Port(name=f"class_{i}", shape=(i + 3,), classes=i + 3) for i in range(len(shapes))),
    )


TWO = signature((1, 28, 28), (1, 40, 50))
SIGNATURES = [TWO, signature((3, 16, 16), (1, 16, 16)), signature((1, 28, 28), (3, 64, 64), (2, 120, 9))]


def samples(space: Space, n: int) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    return [algebra.sample(space, rng) for _ in range(n)]


def images(of: Signature, rows: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows, *port.shape, generator=generator) for port in of.inputs]


def test_the_trunk_is_decided_once_and_each_head_for_itself() -> None:
    names = [decision.name for decision in Space(TWO, stages=1).decisions]
    assert names == [
        "block_1", "depth_1", "width_1", "kernel_1", "squeeze_1", "expansion_1", "activation",
        "pooling_class_0", "head_depth_class_0", "head_width_class_0",
        "pooling_class_1", "head_depth_class_1", "head_width_class_1",
    ]  # fmt: skip
    assert isinstance(Space(TWO), Structured)


def test_only_heads_with_dense_layers_have_a_width() -> None:
    space = Space(TWO, **SMALL, head_depths=(2, 0))
    for architecture in samples(space, 30):
        choice = algebra.describe(space, architecture)
        for output in ("class_0", "class_1"):
            assert (f"head_width_{output}" in choice) == (choice[f"head_depth_{output}"] == "2")
    plain = Space(TWO, **SMALL, head_depths=(0,))
    assert not [decision for decision in plain.decisions if decision.name.startswith("head_width")]


@pytest.mark.parametrize("given", SIGNATURES)
def test_every_task_gets_its_logits_from_images_of_any_size(given: Signature) -> None:
    space = Space(given, **SMALL)
    for architecture in samples(space, 4):
        logits = space.build(architecture)(*images(given, 2))
        assert isinstance(logits, tuple)
        assert [each.shape for each in logits] == [(2, *port.shape) for port in given.outputs]


@pytest.mark.parametrize("given", SIGNATURES)
def test_the_cost_is_that_of_the_built_network(given: Signature) -> None:
    space = Space(given)
    rows = tuple(each.numpy() for each in images(given, 1))
    task = Task(given, {"train": (rows, (np.zeros(1, np.int64),) * len(rows))})
    for architecture in samples(space, 5):
        built = cost(space.build(architecture), task, "train")
        assert space.cost(architecture) == (built["params"], built["macs"])
        assert space.features(architecture)["log_params"] == pytest.approx(np.log(built["params"]))


def test_stems_bring_images_to_about_the_size_of_the_smallest() -> None:
    given = signature((3, 64, 64), (1, 28, 28), (1, 200, 30))
    network = Space(given, **SMALL, strides=(1, 1, 1)).build((0,) * len(Space(given, **SMALL).decisions))
    maps = [stem(x).shape[1:] for stem, x in zip(network.stems, images(given, 1), strict=True)]
    assert maps == [(8, 32, 32), (8, 28, 28), (8, 200, 30)]


def test_tasks_share_all_convolutions_of_the_trunk_and_no_normalisation() -> None:
    space = Space(TWO, **SMALL)
    network = space.build(samples(space, 1)[0]).train()
    first, second = images(TWO, 4)
    network(first, second)[0].sum().backward()
    for module in network.trunk.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.grad.abs().sum() > 0
        if isinstance(module, nn.ModuleList) and isinstance(module[0], nn.BatchNorm2d):
            own, other = module
            assert own.weight.grad is not None
            assert other.weight.grad is None
            assert not torch.equal(own.running_mean, other.running_mean)


def test_a_task_does_not_see_the_images_of_the_other() -> None:
    space = Space(TWO, **SMALL)
    for architecture in samples(space, 3):
        network = space.build(architecture).train()
        first, second = images(TWO, 4)
        before = network(first, second)
        after = network(first, second + 1)
        assert torch.equal(before[0], after[0])
        assert not torch.equal(before[1], after[1])


def test_every_edit_changes_the_network() -> None:
    space = Space(TWO, **{**SMALL, "head_depths": (0, 1, 2)})
    rows = images(TWO, 4)

    def answers(architecture: tuple[int, ...]) -> Tensor:
        torch.manual_seed(0)
        return torch.cat(space.build(architecture)(*rows), dim=1)

    (architecture,) = samples(space, 1)
    before = answers(architecture)
    for other in algebra.neighbours(space, architecture):
        assert not torch.equal(before, answers(other)), algebra.describe(space, other)


def test_a_head_pools_as_it_is_told() -> None:
    x = torch.randn(2, 5, 4, 3)
    expected = {"mean": x.mean((2, 3)), "max": x.amax((2, 3))}
    expected["both"] = torch.cat([expected["mean"], expected["max"]], dim=1)
    for pooling, features in expected.items():
        head = Head(5, (), 3, pooling=pooling, activation="relu", dropout=0.0)
        torch.testing.assert_close(head(x), head.layers(features))


@networks.warns_of_itself
@pytest.mark.filterwarnings("ignore:# The axis name. batch will not be used:UserWarning")  # there is one for each input
def test_networks_train_on_images_and_spectrograms_and_export(data: Path) -> None:
    with np.load(data / "fashion_mnist_small.npz", allow_pickle=False) as file:
        clothes = torch.from_numpy(file["x_train"][:20, None] / np.float32(255))
        kinds = torch.from_numpy(file["y_train"][:20].astype(np.int64) % 3)
    with np.load(data / "fsdd_small.npz", allow_pickle=False) as file:
        wave, starts, said = file["wave"].astype(np.float32), file["offsets"][:20], file["label"][:20]
        sounds = np.stack([np.log1p(np.abs(wave[start : start + 2000])).reshape(1, 40, 50) for start in starts])
    space = Space(TWO, **SMALL)
    rows = [clothes, torch.from_numpy(sounds / sounds.max())]
    torch.manual_seed(0)
    for architecture in samples(space, 3):
        network = space.build(architecture)
        networks.trains_one_step(network, rows, kinds, torch.from_numpy(said.astype(np.int64) % 4))
    networks.exports(network, rows)


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (TWO.inputs[:1], TWO.outputs[:1], "two or more tasks, got 1 inputs and 1 outputs; .*hierarchical"),
        (TWO.inputs, TWO.outputs[:1], "got 2 inputs and 1 outputs"),
        ((), (), "got 0 inputs and 0 outputs"),
        (TWO.inputs, TWO.outputs[:1] * 2, "outputs need distinct names, got class_0, class_0"),
        (
            (TWO.inputs[0], Port(name="text", shape=(9,), dtype="int64", classes=5)),
            TWO.outputs,
            r"text and class_1: needs one float32 input .* got int64 \(9,\)",
        ),
        (TWO.inputs, (TWO.outputs[0], Port(name="mask", shape=(8, 8))), "image_1 and mask: needs one output port"),
    ],
)
def test_a_signature_that_is_not_several_image_tasks_is_refused(
    inputs: tuple[Port, ...], outputs: tuple[Port, ...], message: str
) -> None:
    with pytest.raises(InputError, match=f"multi-task.*{message}"):
        Space(Signature(inputs=inputs, outputs=outputs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head_depths": [-1]}, "head_depths: must be integers >= 0, got -1"),
        ({"head_depths": [False]}, "head_depths: must be integers >= 0, got False"),
        ({"head_widths": [0]}, "head_widths: must be integers >= 1, got 0"),
        ({"poolings": ["avg"]}, "poolings: unknown name 'avg', expected one of both, max, mean"),
        ({"dropout": -0.1}, "dropout: must be a number >= 0 and < 1, got -0.1"),
        ({"kernels": [2]}, "kernels: must be odd integers >= 1, got 2"),
    ],
)
def test_an_option_out_of_range_is_refused_by_value_and_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Space(TWO, **options)
