from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas_core import registry
from nas_core import space as algebra
from nas_core.decisions import check_decisions
from nas_core.errors import InputError
from nas_core.spaces._audio_layers import Plan, chain
from nas_core.spaces.audio_chain import AudioChain
from nas_core.types import Architecture, Port, Signature
from tests.nas_core.spaces import networks

SAMPLES = 2000
TARGET = Port(name="target", shape=(3,), classes=3)
WAVE = Signature(inputs=(Port(name="wave", shape=(SAMPLES,)),), outputs=(TARGET,))
SMALL: dict[str, Any] = {
    "max_depth": 2, "bands": (16,), "windows_ms": (25,), "hops_ms": (20,), "widths_1d": (16,), "widths_2d": (8,),
    "kernels": (3,), "dropouts": (0.1,),
}  # fmt: skip


def waves(n: int) -> Tensor:
    return 0.1 * torch.randn(n, SAMPLES, generator=torch.Generator().manual_seed(n))


def choose(space: AudioChain, **options: str) -> Architecture:
    """Return the architecture of the first options, but for those named."""
    wanted = {d.name: d.options.index(options[d.name]) for d in space.decisions if d.name in options}
    return algebra.canonical(space, tuple(wanted.get(d.name, 0) for d in space.decisions))


# ---------------------------------------------------------------- decisions


def test_the_decisions_of_two_blocks() -> None:
    space = AudioChain(WAVE, max_depth=2)
    check_decisions(space.decisions)
    assert [decision.name for decision in space.decisions] == [
        "bands", "window_ms", "hop_ms", "normalisation", "convolution", "depth",
        "block_1", "width_1d_1", "width_2d_1", "kernel_1",
        "block_2", "width_1d_2", "width_2d_2", "kernel_2", "stride_2",
        "dropout", "pooling",
    ]  # fmt: skip


def test_a_block_has_the_width_of_its_kind_of_convolution() -> None:
    space = AudioChain(WAVE, max_depth=1)
    for kind, other in (("1d", "2d"), ("2d", "1d")):
        found = algebra.describe(space, choose(space, convolution=kind))
        assert f"width_{kind}_1" in found
        assert f"width_{other}_1" not in found


def test_the_size_counts_conditions() -> None:
    space = AudioChain(
        WAVE, max_depth=2, blocks=("plain",), widths_1d=(8, 16), widths_2d=(4,), kernels=(3,), strides=(1, 2)
    )
    chains = (2 + (2 * 2) * 2) + (1 + 1 * 2)
    assert algebra.size(space) == 2 * 2 * 2 * 2 * chains * 3 * 3


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize("block", ["plain", "separable", "residual"])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_chain_has_the_features_that_it_says(dimensions: int, block: str) -> None:
    plans = [Plan(block, 8, 3, 2), Plan(block, 8, 5, 1), Plan(block, 6, 3, 3)]
    blocks, features = chain(dimensions, 21, plans)
    assert blocks(torch.randn(2, 21, 50)).shape == (2, features, 9)
    assert features == 6 * (1 if dimensions == 1 else 4)


def test_a_block_that_changes_nothing_in_shape_has_a_plain_shortcut() -> None:
    blocks, _ = chain(1, 8, [Plan("residual", 8, 3, 1), Plan("residual", 8, 3, 2)])
    x = torch.randn(4, 8, 20)
    same, strided = blocks
    assert torch.equal(same(x), torch.relu(same.layers(x) + x))
    assert sum(1 for _ in strided.shortcut.parameters()) == 3  # a convolution and its batch normalisation


def test_every_edit_changes_the_network() -> None:
    space = AudioChain(WAVE, max_depth=2, widths_1d=(8, 16), widths_2d=(4, 8))
    rows = waves(4)

    def trained_once(architecture: Architecture) -> Tensor:
        torch.manual_seed(0)
        logits: Tensor = space.build(architecture)(rows)
        return logits

    rng = np.random.default_rng(0)
    for architecture in (algebra.sample(space, rng) for _ in range(2)):
        before = trained_once(architecture)
        for other in algebra.neighbours(space, architecture):
            assert not torch.equal(before, trained_once(other)), algebra.describe(space, other)


def test_the_rate_is_that_of_the_option() -> None:
    fast, slow = (AudioChain(WAVE, sample_rate=rate, windows_ms=(25,)) for rate in (16_000, 8000))
    lengths = [space.build(choose(space)).front.basis.shape[2] for space in (fast, slow)]
    assert lengths == [400, 200]


@pytest.mark.parametrize(("normalisation", "matters"), [("batch", True), ("clip", False)])
def test_loudness_matters_unless_each_clip_is_standardised(normalisation: str, matters: bool) -> None:
    space = AudioChain(WAVE, **SMALL)
    network = space.build(choose(space, normalisation=normalisation)).eval()
    change = (network(waves(3)) - network(2 * waves(3))).abs().max()
    assert bool(change > 1e-2) == matters


# ---------------------------------------------------------------- real sounds

Digits = tuple[Signature, np.ndarray, np.ndarray]


@pytest.fixture
def digits(data: Path) -> Digits:
    """Return 100 spoken zeros and ones of FSDD, each of a quarter of a second."""
    with np.load(data / "fsdd_small.npz", allow_pickle=False) as file:
        wave, bounds, labels = file["wave"], list(pairwise(file["offsets"])), file["label"].astype(np.int64)
    chosen = np.flatnonzero(labels < 2)[:100]
    clips = [wave[slice(*bounds[i])][:SAMPLES] / 32768 for i in chosen]
    rows = np.stack([np.pad(clip, (0, SAMPLES - len(clip))) for clip in clips]).astype(np.float32)
    return Signature(inputs=WAVE.inputs, outputs=(Port(name="digit", shape=(2,), classes=2),)), rows, labels[chosen]


@pytest.mark.parametrize("block", ["plain", "separable", "residual"])
@pytest.mark.parametrize("convolution", ["1d", "2d"])
def test_a_network_learns_digits(convolution: str, block: str, digits: Digits) -> None:
    made, rows, classes = digits
    task = registry.load("tasks", "audio")(made, {"train": ((rows,), classes), "validation": ((rows,), classes)})
    space = AudioChain(made, **SMALL)
    architecture = choose(space, convolution=convolution, depth="2", block_1="plain", block_2=block)
    training = registry.load("estimators", "training")(space, task, 0, epochs=5, batch_size=10, learning_rate=0.01)
    _, metrics = training.train(architecture)
    assert metrics["accuracy"] > 0.8


@networks.warns_of_itself
@pytest.mark.parametrize(
    "options",
    [
        {"convolution": "1d", "block_2": "separable", "pooling": "both", "normalisation": "batch"},
        {"convolution": "2d", "block_2": "residual", "pooling": "max", "normalisation": "clip"},
    ],
)
def test_a_network_is_exported_for_any_batch(options: dict[str, str], digits: Digits) -> None:
    made, rows, _ = digits
    space = AudioChain(made, **SMALL)
    networks.exports(space.build(choose(space, depth="2", **options)), [torch.from_numpy(rows[:20])])


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ((Port(name="image", shape=(3, 8, 8)),), (TARGET,), r"shape \(samples,\), got 'image' float32 \(3, 8, 8\)"),
        ((Port(name="text", shape=(900,), dtype="int64", classes=9),), (TARGET,), r"got 'text' int64"),
        ((Port(name="wave", shape=(-1,)),), (TARGET,), r"got 'wave' float32 \(-1,\)"),
        ((), (TARGET,), "got none"),
        (WAVE.inputs * 2, (TARGET,), "needs one float32 input"),
        (WAVE.inputs, (TARGET, TARGET), "needs one output port"),
        ((Port(name="numeric", shape=(14,)),), (TARGET,), "windows_ms: two must fit into the input's 1.75 ms"),
    ],
)
def test_a_signature_that_is_no_sound_is_refused(
    inputs: tuple[Port, ...], outputs: tuple[Port, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        AudioChain(Signature(inputs=inputs, outputs=outputs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 0}, "sample_rate: must be an integer >= 1, got 0"),
        ({"bands": [0]}, "bands: must be integers >= 1, got 0"),
        ({"bands": [200]}, r"bands: must be at most 86, .* the shortest window \(25 ms\), got 200"),
        ({"windows_ms": [0]}, "windows_ms: must be numbers > 0, got 0"),
        (
            {"windows_ms": [25, 300]},
            "windows_ms: two must fit into the input's 250 ms at 8000 Hz, 20 ms apart, got 300",
        ),
        ({"windows_ms": [0.3]}, "windows_ms: must be 4 samples or more at 8000 Hz, got 0.3"),
        ({"hops_ms": [30]}, r"hops_ms: must be .* no longer than the shortest window \(25 ms\).*got 30"),
        ({"hops_ms": [0.01]}, "hops_ms: must be one sample or more .* got 0.01"),
        ({"max_depth": 17}, "max_depth: must be an integer from 1 to 16, got 17"),
        ({"normalisations": ["layer"]}, "normalisations: unknown name 'layer'"),
        ({"convolutions": ["3d"]}, "convolutions: unknown name '3d'"),
        ({"blocks": ["dense"]}, "blocks: unknown name 'dense'"),
        ({"widths_1d": [0]}, "widths_1d: must be integers >= 1, got 0"),
        ({"widths_2d": []}, "widths_2d: must be a list of one or more"),
        ({"kernels": [2]}, "kernels: must be odd integers >= 1, got 2"),
        ({"strides": [0]}, "strides: must be integers >= 1, got 0"),
        ({"dropouts": [1]}, "dropouts: must be numbers >= 0 and < 1, got 1"),
        ({"poolings": ["sum"]}, "poolings: unknown name 'sum'"),
    ],
)
def test_an_option_out_of_range_is_refused_by_value_and_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AudioChain(WAVE, **options)


def test_the_decisions_of_a_space_load_no_torch() -> None:
    code = "import sys, nas_core.spaces.audio_chain; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
