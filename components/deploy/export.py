"""A trained network as one ONNX file that gives probabilities and tells nothing of the machine that wrote it."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_core.types import Signature

if TYPE_CHECKING:
    from torch import nn

OPSET = 18


class NotExportableError(Exception):
    """The network does something that ONNX, or the exporter, does not know."""


def export(module: nn.Module, signature: Signature, inputs: Sequence[np.ndarray]) -> bytes:
    """Return `module` with a softmax behind it as an ONNX model; equal weights give equal bytes.

    Inputs are named as the ports of `signature`, the output is `probabilities`, float32 (batch, classes); the batch is
    dynamic. `inputs` holds some real rows, two at least, in port order. NotExportableError if it cannot be done.
    """
    import torch

    names = [port.name for port in signature.inputs]
    batch = torch.export.Dim("batch", min=1)
    try:
        with _quiet():
            program = torch.onnx.export(
                _with_softmax(module),
                tuple(torch.from_numpy(array) for array in inputs),
                dynamo=True,
                opset_version=OPSET,
                input_names=names,
                output_names=[_free_name("probabilities", names)],
                dynamic_shapes=(tuple({0: batch} for _ in names),),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = error.__cause__ or error  # the exporter's own message only says which step failed
        raise NotExportableError(f"{type(reason).__name__}: {str(reason).strip().partition(chr(10))[0]}") from error
    if program is None:
        raise NotExportableError("the exporter returned nothing")
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says each time: its own deprecations, and that torchvision is not installed."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        warnings.filterwarnings("ignore", message="# The axis name: batch will not be used", category=UserWarning)
        try:
            yield
        finally:
            log.setLevel(level)
