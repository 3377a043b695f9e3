"""Networks as ONNX files, by torch's two exporters, and what cannot be one."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 18
_OPERATOR = re.compile(r"aten(?:::|\.)[\w.]+|OpOverload\(op='([\w.:]+)'")


class NotExportableError(Exception):
    """The network does something that ONNX, or the exporter, does not know; `operator` is its name, if it was told."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        found = _OPERATOR.search(reason)
        self.operator = (found[1] or found[0]) if found else ""


def export_program(module: nn.Module, inputs: Sequence[Tensor], names: Sequence[str], output: str) -> Any:
    """Return the ONNX program of `module` with one output and a dynamic batch, as it is deployed.

    This is torch's exporter of graphs, which takes seconds. NotExportableError if it cannot be done.
    """
    import torch

    batch = torch.export.Dim("batch", min=1)
    try:
        with quiet():
            program = torch.onnx.export(
                module,
                tuple(inputs),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(names),
                output_names=[output],
                dynamic_shapes=(tuple({0: batch} for _ in names),),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = error.__cause__ or error  # the exporter's own message only says which step failed
        raise NotExportableError(_one_line(reason)) from error
    if program is None:
        raise NotExportableError("the exporter returned nothing")
    return program


def export_quickly(module: nn.Module, inputs: Sequence[Tensor], names: Sequence[str]) -> bytes:
    """Return `module` for batches as large as `inputs` as an ONNX file; for being timed, not deployed.

    This is torch's exporter of traces, which knows less and takes a twentieth of the time of the other; ONNX Runtime
    makes the same of both files. NotExportableError if it cannot be done.
    """
    import torch

    file = BytesIO()
    try:
        with quiet():
            torch.onnx.export(
                module.eval(),
                tuple(inputs),
                file,  # type: ignore[arg-type]  # a path, says torch, but the exporter of traces takes a file
                dynamo=False,
                opset_version=OPSET,
                input_names=list(names),
            )
    except Exception as error:  # torch has no common error for it
        raise NotExportableError(_one_line(error)) from error
    return file.getvalue()


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what the exporters say each time: their own deprecations, and that torchvision is not installed."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        warnings.filterwarnings("ignore", message="# The axis name: batch will not be used", category=UserWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.onnx.*")
        try:
            yield
        finally:
            log.setLevel(level)
