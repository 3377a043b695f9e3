from __future__ import annotations

import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.estimators.training import Training
from nas_core.interfaces import Bounded
from nas_core.spaces.edge import Edge
from nas_core.tasks.image import Image
from nas_core.types import Port, Signature
from tests.nas_core.spaces import networks

IMAGE = Signature(
    inputs=(Port(name="image", shape=(1, 28, 28)),), outputs=(Port(name="target", shape=(10,), classes=10),)
)
TIGHT = Edge(IMAGE, max_params=12_000, max_macs=1_500_000, squeeze_excite=(0.0, 0.25))
TINY = Edge(IMAGE, stages=1, widths=(8, 16), expansions=(2, 6), max_params=3_000, max_macs=1_500_000)
seeds = st.integers(0, 2**32 - 1)


def sample(space: Edge, seed: int) -> tuple[int, ...]:
    return algebra.sample(space, np.random.default_rng(seed))


def keeps(space: Edge, architecture: tuple[int, ...], params: int, macs: int) -> bool:
    algebra.validate(space, architecture)
    cost = space.cost(architecture)
    return cost.params <= params and cost.macs <= macs


# ---------------------------------------------------------------- limits


def test_it_is_bounded_and_the_smallest_network_is_admitted() -> None:
    assert isinstance(TIGHT, Bounded)
    assert TIGHT.admits((0,) * len(TIGHT.decisions))


@given(seeds)
def test_what_is_sampled_mutated_or_crossed_keeps_the_limits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = algebra.sample(TIGHT, rng), algebra.sample(TIGHT, rng)
    child, _ = algebra.mutate(TIGHT, one, rng)
    for architecture in (one, other, child, algebra.crossover(TIGHT, one, other, rng)):
        assert keeps(TIGHT, architecture, 12_000, 1_500_000)


@given(seeds)
def test_replacing_a_zero_never_costs_less(seed: int) -> None:
    """What `Bounded` promises, and what cuts walks through the space off early."""
    free = Edge(IMAGE, max_params=10**9, max_macs=10**12, squeeze_excite=(0.0, 0.1, 0.5))
    rng = np.random.default_rng(seed)
    full = algebra.sample(free, rng)
    kept = int(rng.integers(len(full)))
    before = free.cost(full[:kept] + (0,) * (len(full) - kept))
    after = free.cost(full)
    assert before.params <= after.params
    assert before.macs <= after.macs


@pytest.mark.parametrize("decision", ["block", "depth", "width", "kernel", "squeeze", "expansion"])
def test_each_decision_costs_more_from_option_to_option(decision: str) -> None:
    free = Edge(IMAGE, max_params=10**9, max_macs=10**12, squeeze_excite=(0.0, 0.1, 0.5))
    names = [d.name for d in free.decisions]
    base = [0] * len(names)
    base[names.index("block_2")] = 1 if decision == "expansion" else 0
    place = names.index(f"{decision}_2")
    costs = [
        free.cost((*base[:place], option, *base[place + 1 :])) for option in range(len(free.decisions[place].options))
    ]
    assert len(costs) > 1
    assert all(a.params < b.params and a.macs < b.macs for a, b in pairwise(costs))


def test_enumeration_yields_exactly_what_keeps_the_limits() -> None:
    free = Edge(IMAGE, stages=1, widths=(8, 16), expansions=(2, 6), max_params=10**9, max_macs=10**12)
    everything = list(algebra.architectures(free))
    assert len(everything) == algebra.size(free)
    within = [a for a in everything if keeps(free, a, 3_000, 1_500_000)]
    assert 1 < len(within) < len(everything)
    assert list(algebra.architectures(TINY)) == within
    assert sorted(algebra.architectures(TINY, np.random.default_rng(0))) == within


def test_neighbours_keep_the_limits() -> None:
    for architecture in algebra.architectures(TINY):
        for neighbour in algebra.neighbours(TINY, architecture):
            assert keeps(TINY, neighbour, 3_000, 1_500_000)


def test_an_architecture_beyond_the_limits_is_not_built() -> None:
    with pytest.raises(InputError, match="beyond the limits"):
        TIGHT.build(tuple(len(decision.options) - 1 for decision in TIGHT.decisions))


def test_a_limit_is_kept_to_the_last_parameter() -> None:
    needed = TINY.cost((0,) * len(TINY.decisions)).params
    exact = Edge(IMAGE, stages=1, widths=(8, 16), expansions=(2, 6), max_params=needed, max_macs=10**9)
    assert list(algebra.architectures(exact)) == [(0,) * len(exact.decisions)]


@pytest.mark.parametrize("option", ["max_params", "max_macs"])
def test_an_impossible_limit_is_refused_with_the_nearest_network(option: str) -> None:
    needed = getattr(Edge(IMAGE).cost((0,) * 19), option.removeprefix("max_"))
    smallest = "block_1 separable, depth_1 1, width_1 8, kernel_1 3, squeeze_1 0.0, block_2 separable"
    message = f"{option}: must be >= {needed}, what the nearest network .*{re.escape(smallest)}.* got {needed - 1};"
    with pytest.raises(InputError, match=message):
        Edge(IMAGE, **{option: needed - 1})


def test_admitting_is_quick() -> None:
    """A walk asks it at every step; the bound is ten times what it takes."""
    architectures = [sample(TIGHT, seed) for seed in range(500)]
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        for architecture in architectures:
            TIGHT.admits(architecture)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) / len(architectures) < 150e-6


# ---------------------------------------------------------------- networks


@networks.warns_of_itself
def test_networks_train_on_images_and_export(data: Path) -> None:
    with np.load(data / "fashion_mnist_small.npz", allow_pickle=False) as file:
        images = torch.from_numpy(file["x_train"][:30, None] / np.float32(255))
        labels = torch.from_numpy(file["y_train"][:30].astype(np.int64))
    space = Edge(IMAGE, stages=2, squeeze_excite=(0.0, 0.25))
    torch.manual_seed(0)
    for seed in range(4):
        network = space.build(sample(space, seed))
        networks.trains_one_step(network, [images], labels)
    networks.exports(network, [images])


def test_networks_are_made_of_operations_that_quantise() -> None:
    space = Edge(IMAGE)
    known = {"Conv2d", "BatchNorm2d", "ReLU6", "Identity", "Linear", "Dropout"}
    for seed in range(20):
        leaves = [m for m in space.build(sample(space, seed)).modules() if not [*m.children()]]
        assert {type(leaf).__name__ for leaf in leaves} <= known
        assert {leaf.groups for leaf in leaves if isinstance(leaf, torch.nn.Conv2d)} - {1}


class Calibration(CalibrationDataReader):
    def __init__(self, images: Any) -> None:
        self._batches = iter(np.split(images, 5))

    def get_next(self) -> dict[str, Any] | None:
        return next(({"image": batch} for batch in self._batches), None)


@networks.warns_of_itself
def test_a_trained_network_decides_alike_with_8_bit_integers(data: Path, tmp_path: Path) -> None:
    """As ONNX defines it: fused kernels saturate on processors without VNNI, which is not the network's doing."""
    with np.load(data / "fashion_mnist_small.npz", allow_pickle=False) as file:
        train, test = (
            ((file[f"x_{split}"][:2000, None] / np.float32(255),), file[f"y_{split}"][:2000].astype(np.int64))
            for split in ("train", "test")
        )
    space = Edge(IMAGE, stages=2, depths=(1,), widths=(16,), blocks=("inverted",), strides=(2, 2, 1))
    task = Image(IMAGE, {"train": train, "validation": test}, shift=0.0)
    training = Training(space, task, 0, epochs=3, batch_size=32, learning_rate=0.01)
    network, metrics = training.train((0,) * len(space.decisions))
    assert metrics["accuracy"] > 0.7
    program = torch.onnx.export(
        network, (torch.zeros(2, 1, 28, 28),), dynamo=True, opset_version=18, input_names=["image"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), external_data=False, verbose=False,
    )  # fmt: skip
    assert program is not None
    model = program.model_proto.SerializeToString()
    calibration = Calibration(train[0][0][:500])
    quantize_static(onnx.load_from_string(model), tmp_path / "int8.onnx", calibration, per_channel=True)
    (images,), labels = test
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    sessions = (onnxruntime.InferenceSession(each, plain) for each in (model, tmp_path / "int8.onnx"))
    exact, rounded = (session.run(None, {"image": images})[0].argmax(1) for session in sessions)
    assert (exact == rounded).mean() >= 0.98
    assert abs((exact == labels).mean() - (rounded == labels).mean()) < 0.01


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_params": 0}, "max_params: must be an integer >= 1, got 0"),
        ({"max_macs": 1e6}, "max_macs: must be an integer >= 1, got 1000000.0"),
        ({"blocks": ["residual"]}, "blocks: unknown name 'residual', expected one of inverted, separable"),
        ({"activation": "silu"}, "activation: unknown name 'silu', expected one of relu, relu6"),
        ({"kernels": [2]}, "kernels: must be odd integers"),
    ],
)
def test_an_option_out_of_range_is_refused_by_value_and_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Edge(IMAGE, **options)


def test_a_signature_that_is_no_image_names_this_space() -> None:
    with pytest.raises(InputError, match="edge: needs one float32 input"):
        Edge(Signature(inputs=(Port(name="row", shape=(3,)),), outputs=IMAGE.outputs))
