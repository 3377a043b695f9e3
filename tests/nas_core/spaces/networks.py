"""What every network of a space has to do: train, and give the same answers as an ONNX model."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

OPSET = 18
FEW = 2
"""Rows that a network is exported with; its answers are compared on another number."""

warns_of_itself = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
"""For tests that export: torch 2.13 uses what it deprecates."""


def trains_one_step(network: nn.Module, inputs: Sequence[Tensor], *targets: Tensor) -> None:
    """Take one step of gradient descent: every parameter has a finite gradient, and the loss of these rows falls.

    `targets` holds int64 (N,) per output.
    """
    network.train()
    before = _loss(network, inputs, targets)
    before.backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    wrong = [name for name, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()]
    assert not wrong, wrong
    _descend(network)
    assert _loss(network, inputs, targets) < before


def exports(network: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Export as for deployment, from `FEW` rows; ONNX Runtime gives torch's answers for all `inputs`, and for one."""
    network.eval()
    names = [f"input_{i}" for i in range(len(inputs))]
    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        _Flat(network).eval(),
        tuple(x[:FEW] for x in inputs),
        dynamo=True,
        opset_version=OPSET,
        input_names=names,
        dynamic_shapes=(tuple({0: batch} for _ in names),),
        external_data=False,
        verbose=False,
    )
    assert program is not None
    file = BytesIO(program.model_proto.SerializeToString())
    session = onnxruntime.InferenceSession(file.getvalue())
    for rows in (1, len(inputs[0])):
        given = [x[:rows] for x in inputs]
        answers = session.run(None, {name: x.numpy() for name, x in zip(names, given, strict=True)})
        with torch.no_grad():
            for answer, expected in zip(answers, _outputs(network(*given)), strict=True):
                np.testing.assert_allclose(answer, expected.numpy(), rtol=1e-4, atol=1e-5)


class _Flat(nn.Module):
    """A network that torch exports by position, whatever its forward calls its inputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs: Tensor | tuple[Tensor, ...] = self.network(*inputs)
        return outputs


def _loss(network: nn.Module, inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the same dropout before and after
        outputs = _outputs(network(*inputs))
    losses = [functional.cross_entropy(logits, target) for logits, target in zip(outputs, targets, strict=True)]
    return torch.stack(losses).sum()


def _outputs(given: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return given if isinstance(given, tuple) else (given,)


def _descend(network: nn.Module) -> None:
    """Go a small way, the same for all networks however large their gradients are."""
    parameters = [parameter for parameter in network.parameters() if parameter.grad is not None]
    norm = torch.stack([parameter.grad.norm() for parameter in parameters]).norm()
    with torch.no_grad():
        for parameter in parameters:
            parameter.sub_(0.01 * parameter.grad / norm)
