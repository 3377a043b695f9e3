from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from nas_core import space as algebra
from nas_core.decisions import check_decisions
from nas_core.errors import InputError
from nas_core.spaces._layers import Embedding, Layer, Periodic
from nas_core.spaces.chain import Chain
from nas_core.types import Port, Signature

NUMERIC = Port(name="numeric", shape=(3,))
COLOUR = Port(name="colour", shape=(), dtype="int64", classes=4)
SHAPE = Port(name="shape", shape=(), dtype="int64", classes=7)
TARGET = Port(name="target", shape=(2,), classes=2)
TABLE = Signature(inputs=(NUMERIC, COLOUR, SHAPE), outputs=(TARGET,))


def rows(signature: Signature, n: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(n)
    return [
        torch.randint(port.classes, (n,), generator=generator)
        if port.dtype == "int64"
        else torch.randn(n, *port.shape, generator=generator)
        for port in signature.inputs
    ]


def names(space: Chain) -> list[str]:
    return [decision.name for decision in space.decisions]


# ---------------------------------------------------------------- decisions


def test_the_decisions_for_a_mixed_table() -> None:
    assert names(Chain(TABLE, max_depth=2)) == [
        "depth", "width_1", "width_2", "activation", "normalisation", "dropout",
        "residual", "embedding_dim", "numeric", "frequency_scale",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "options", "absent"),
    [
        ((NUMERIC,), {}, {"embedding_dim"}),
        ((COLOUR, SHAPE), {}, {"numeric", "frequency_scale"}),
        ((NUMERIC, COLOUR), {"max_depth": 1}, {"residual"}),
        ((NUMERIC, COLOUR), {"numeric": ["linear"]}, {"frequency_scale"}),
    ],
)
def test_there_is_no_decision_without_effect(
    inputs: tuple[Port, ...], options: dict[str, Any], absent: set[str]
) -> None:
    space = Chain(Signature(inputs=inputs, outputs=(TARGET,)), **options)
    check_decisions(space.decisions)
    assert absent.isdisjoint(names(space))


def test_the_size_counts_conditions() -> None:
    space = Chain(
        TABLE, max_depth=3, widths=(8, 16), activations=("relu",), normalisations=("none",), dropouts=(0,),
        embedding_dims=(4,), frequency_scales=(0.1, 1),
    )  # fmt: skip
    assert algebra.size(space) == (2 + 2 * 4 + 2 * 8) * 3


def test_numbers_are_attributes() -> None:
    decisions = {decision.name: decision for decision in Chain(TABLE, dropouts=(0, 0.25)).decisions}
    assert decisions["dropout"].options == ("0.0", "0.25")
    assert decisions["dropout"].attributes == ((0.0,), (0.25,))
    assert decisions["width_1"].attributes == ((32.0,), (64.0,), (128.0,), (256.0,))
    assert decisions["activation"].attributes == ()


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize("inputs", [(NUMERIC, COLOUR, SHAPE), (COLOUR, NUMERIC), (NUMERIC,), (SHAPE,)])
def test_every_architecture_maps_rows_to_logits(inputs: tuple[Port, ...]) -> None:
    signature = Signature(inputs=inputs, outputs=(TARGET,))
    space = Chain(signature)
    rng = np.random.default_rng(0)
    for _ in range(20):
        logits = space.build(algebra.sample(space, rng))(*rows(signature, 5))
        assert logits.shape == (5, 2)
        assert logits.isfinite().all()


def test_a_build_is_determined_by_the_seed_of_torch() -> None:
    space = Chain(TABLE)
    architecture = algebra.sample(space, np.random.default_rng(0))
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(torch.cat([tensor.flatten() for tensor in space.build(architecture).state_dict().values()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_every_edit_changes_the_network() -> None:
    space = Chain(TABLE, max_depth=2, widths=(8, 16))
    inputs = rows(TABLE, 64)

    def trained_once(architecture: tuple[int, ...]) -> Tensor:
        torch.manual_seed(0)
        logits: Tensor = space.build(architecture)(*inputs)
        return logits

    rng = np.random.default_rng(0)
    for architecture in (algebra.sample(space, rng) for _ in range(4)):
        before = trained_once(architecture)
        for other in algebra.neighbours(space, architecture):
            assert not torch.equal(before, trained_once(other)), algebra.describe(space, other)


def test_an_invalid_architecture_is_not_built() -> None:
    space = Chain(TABLE, max_depth=1)
    with pytest.raises(InputError, match=r"architecture\.activation"):
        space.build((0, 0, 9, 0, 0, 0, 0, 0))


def test_a_shortcut_is_a_projection_where_widths_differ() -> None:
    def layer(before: int) -> Layer:
        return Layer(before, 6, activation="relu", normalisation="none", dropout=0.0, residual=True)

    same, wider = layer(6), layer(4)
    x = torch.randn(5, 6)
    assert torch.equal(same(x), torch.relu(same.body[0](x)) + x)
    assert [tuple(p.shape) for p in wider.shortcut.parameters()] == [(6, 4)]


def test_periodic_embeddings_follow_the_paper() -> None:
    torch.manual_seed(0)
    periodic, x = Periodic(2, scale=0.5), torch.randn(4, 2)
    weight, bias = periodic.linear.weight, periodic.linear.bias
    for row in range(4):
        for column in range(2):
            phases = 2 * np.pi * periodic.frequency[column] * x[row, column]
            expected = torch.relu(weight @ torch.cat([phases.sin(), phases.cos()]) + bias)
            torch.testing.assert_close(periodic(x)[row].chunk(2)[column], expected)


def test_the_scale_is_the_spread_of_the_first_frequencies() -> None:
    torch.manual_seed(0)
    assert Periodic(1000, scale=0.3).frequency.std().item() == pytest.approx(0.3, rel=0.05)


def test_an_unknown_category_says_nothing_until_it_is_trained() -> None:
    embedding = Embedding(4, 8)
    assert embedding(torch.tensor([0])).abs().max() == 0
    assert embedding.weight[1:].abs().min() > 0


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # torch 2.13 warns of itself
@pytest.mark.parametrize(
    "options",
    [
        {"normalisations": ["batch"], "residual": [True], "numeric": ["periodic"], "activations": ["gelu"]},
        {"normalisations": ["layer"], "residual": [False], "numeric": ["linear"], "activations": ["silu"]},
    ],
)
def test_an_exported_network_gives_the_same_logits_for_any_batch(options: dict[str, Any], tmp_path: Path) -> None:
    space = Chain(TABLE, max_depth=2, widths=(8, 16), dropouts=(0.1,), **options)
    network = space.build(algebra.sample(space, np.random.default_rng(3))).eval()
    ports = [port.name for port in TABLE.inputs]
    torch.onnx.export(
        network,
        tuple(rows(TABLE, 3)),
        tmp_path / "model.onnx",
        dynamo=True,
        verbose=False,
        input_names=ports,
        dynamic_shapes={"inputs": tuple({0: torch.export.Dim.DYNAMIC} for _ in ports)},
    )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for n in (1, 50):
        inputs = rows(TABLE, n)
        (logits,) = session.run(None, {name: x.numpy() for name, x in zip(ports, inputs, strict=True)})
        np.testing.assert_allclose(logits, network(*inputs).detach().numpy(), atol=1e-5)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ((Port(name="image", shape=(3, 32, 32)),), (TARGET,), r"'image' must have shape \(k,\), got \(3, 32, 32\)"),
        ((Port(name="series", shape=(-1,)),), (TARGET,), r"'series' must have shape \(k,\), got \(-1,\)"),
        ((Port(name="words", shape=(9,), dtype="int64", classes=5),), (TARGET,), r"'words' must have shape \(\)"),
        ((Port(name="colour", shape=(), dtype="int64"),), (TARGET,), "'colour' must .* got shape .* and classes 0"),
        ((), (TARGET,), "needs at least one input port"),
        ((NUMERIC,), (), r"needs one output port of shape \(classes,\), got shapes \[\]"),
        ((NUMERIC,), (TARGET, TARGET), "needs one output port"),
        ((NUMERIC,), (Port(name="mask", shape=(8, 8)),), "needs one output port"),
    ],
)
def test_a_signature_that_is_no_table_is_refused_by_port(
    inputs: tuple[Port, ...], outputs: tuple[Port, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Chain(Signature(inputs=inputs, outputs=outputs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_depth": 0}, "max_depth: must be an integer from 1 to 64, got 0"),
        ({"max_depth": 65}, "max_depth: must be an integer from 1 to 64, got 65"),
        ({"max_depth": 2.0}, "max_depth: must be an integer from 1 to 64, got 2.0"),
        ({"widths": [64, -1]}, "widths: must be integers >= 1, got -1"),
        ({"widths": []}, r"widths: must be a list of one or more values, got \[\]"),
        ({"widths": [64, 64]}, "widths: must not name an option twice, got 64 again"),
        ({"widths": "64"}, "widths: must be a list of one or more values, got '64'"),
        ({"widths": [[64]]}, r"widths: must be integers >= 1, got \[64\]"),
        ({"widths": [True]}, "widths: must be integers >= 1, got True"),
        ({"dropouts": [0.0, 1.0]}, "dropouts: must be numbers >= 0 and < 1, got 1.0"),
        ({"dropouts": [float("nan")]}, "dropouts: must be numbers >= 0 and < 1, got nan"),
        ({"embedding_dims": [0]}, "embedding_dims: must be integers >= 1, got 0"),
        ({"frequency_scales": [0.0]}, "frequency_scales: must be numbers > 0, got 0.0"),
        ({"frequency_scales": [float("inf")]}, "frequency_scales: must be numbers > 0, got inf"),
        ({"activations": ["rel"]}, "activations: unknown name 'rel', .*did you mean 'relu'"),
        ({"normalisations": ["group"]}, "normalisations: unknown name 'group', expected one of batch, layer, none"),
        ({"residual": ["yes"]}, "residual: must be true or false, got 'yes'"),
        ({"numeric": [3]}, "numeric: must be names, got 3"),
        ({"numeric": ["quantile"]}, "numeric: unknown name 'quantile'"),
    ],
)
def test_an_option_out_of_range_is_refused_by_value_and_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Chain(TABLE, **options)


def test_the_decisions_of_a_space_load_no_torch() -> None:
    code = "import sys, nas_core.spaces.chain; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
