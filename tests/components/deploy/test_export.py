from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from components.bundle import open_session, run
from components.deploy.export import OPSET, NotExportableError, export
from nas_core.types import Port, Signature

SIGNATURE = Signature(
    inputs=(
        Port(name="numeric", shape=(3,)),
        Port(name="marital-status", shape=(), dtype="int64", classes=5),
        Port(name="probabilities", shape=(), dtype="int64", classes=4),
        Port(name="linear", shape=(), dtype="int64", classes=4),
    ),
    outputs=(Port(name="income", shape=(2,), classes=2),),
)


class Network(nn.Module):
    """What networks for tables are made of; one input is named as the exporter names an inner value."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.ModuleList(nn.Embedding(n, 2) for n in (5, 4, 4))
        self.layers = nn.Sequential(nn.Linear(9, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 2))

    def forward(self, numeric: Tensor, *indices: Tensor) -> Tensor:
        embedded = [embed(index) for embed, index in zip(self.embedding, indices, strict=True)]
        logits: Tensor = self.layers(torch.cat([numeric, *embedded], dim=1))
        return logits


def rows(count: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(count)
    indices = [rng.integers(port.classes, size=count) for port in SIGNATURE.inputs[1:]]
    return (rng.normal(size=(count, 3)).astype(np.float32), *indices)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture(scope="module")
def model(network: nn.Module) -> bytes:
    return export(network, SIGNATURE, rows(3))


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_any_batch_gives_the_probabilities_of_torch(network: nn.Module, model: bytes, count: int) -> None:
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(array) for array in rows(count))).softmax(dim=1).numpy()
    np.testing.assert_allclose(run(open_session(model), rows(count)), expected, atol=1e-6)


def test_inputs_are_named_as_the_ports_and_inner_values_are_not(model: bytes) -> None:
    graph = onnx.load_from_string(model).graph
    assert [value.name for value in graph.input] == [port.name for port in SIGNATURE.inputs]
    names = [value for node in graph.node for value in node.output]
    assert not {*names} & {port.name for port in SIGNATURE.inputs}


def test_it_is_a_valid_model_of_the_opset(model: bytes) -> None:
    loaded = onnx.load_from_string(model)
    onnx.checker.check_model(loaded, full_check=True)
    assert [each.version for each in loaded.opset_import if not each.domain] == [OPSET]


def test_equal_weights_give_equal_bytes(network: nn.Module, model: bytes) -> None:
    assert export(network, SIGNATURE, rows(7)) == model


def test_it_tells_nothing_of_the_machine_that_wrote_it(model: bytes) -> None:
    assert b".py" not in model
    assert str(Path(__file__).parent).encode() not in model


class Branching(nn.Module):
    def forward(self, numeric: Tensor, *_: Tensor) -> Any:
        return numeric if float(numeric.sum()) > 0 else -numeric


def test_what_cannot_be_exported_is_told() -> None:
    with pytest.raises(NotExportableError, match="data-dependent"):
        export(Branching(), SIGNATURE, rows(3))
