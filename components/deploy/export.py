"""A trained network as one ONNX file that gives probabilities and tells nothing of the machine that wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_core.exporting import OPSET, NotExportableError, export_program
from nas_core.types import Signature

if TYPE_CHECKING:
    from torch import nn

__all__ = ["OPSET", "NotExportableError", "export"]


def export(module: nn.Module, signature: Signature, inputs: Sequence[np.ndarray]) -> bytes:
    """Return `module` with a softmax behind it as an ONNX model; equal weights give equal bytes.

    Inputs are named as the ports of `signature`, the output is `probabilities`, float32 (batch, classes); the batch is
    dynamic. `inputs` holds some real rows, two at least, in port order. NotExportableError if it cannot be done.
    """
    import torch

    names = [port.name for port in signature.inputs]
    rows = [torch.from_numpy(array) for array in inputs]
    program = export_program(_with_softmax(module), rows, names, _free_name("probabilities", names))
    _anonymise(program.model)
    model: bytes = program.model_proto.SerializeToString(deterministic=True)
    return model


def _with_softmax(module: nn.Module) -> nn.Module:
    import torch

    class Probabilities(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.network(*inputs), dim=1)

    return Probabilities().eval()


def _free_name(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _anonymise(model: Any) -> None:
    """Drop traces of source files, and name inner values so that none can be a column's name."""
    graph = model.graph
    kept = {id(value) for value in graph.outputs}
    for number, node in enumerate(graph):
        node.name = f"{node.op_type}:{number}"
        node.metadata_props.clear()
        for i, value in enumerate(node.outputs):
            value.metadata_props.clear()
            if id(value) not in kept:
                value.name = f"{node.name}:{i}"
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()
    graph.metadata_props.clear()
    model.metadata_props.clear()
