"""The network of an architecture and a batch for it: what every cost begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas_core.errors import InputError
from nas_core.exporting import NotExportableError, export_program, export_quickly
from nas_core.failures import InfeasibleError
from nas_core.interfaces import SearchSpace, Task
from nas_core.types import Architecture

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn


def at_least_1(name: str, value: float) -> None:
    """Raise InputError unless `value` is 1 or more."""
    if value < 1:
        raise InputError(f"{name}: must be >= 1, got {value}")


def build(space: SearchSpace, architecture: Architecture) -> nn.Module:
    """Return the network of `architecture` in eval mode; torch's generator is as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return space.build(architecture).eval()


def first_rows(task: Task, batch: int) -> tuple[Tensor, ...]:
    """Return the first `batch` rows of `train` as inputs, repeated if there are fewer."""
    import torch

    inputs, _ = next(iter(task.batches("train", batch)))
    return tuple(_repeated(tensor, batch) if len(tensor) < batch else tensor for tensor in map(torch.as_tensor, inputs))


def batch_of(task: Task, batch: int) -> dict[str, NDArray[Any]]:
    """Return `first_rows` as arrays by the names of the task's input ports."""
    return {
        port.name: tensor.numpy() for port, tensor in zip(task.signature.inputs, first_rows(task, batch), strict=True)
    }


def to_onnx(space: SearchSpace, task: Task, architecture: Architecture, batch: int, cost: str) -> bytes:
    """Return the network for `batch` rows as an ONNX file; InfeasibleError names the operator that cannot be in one."""
    module, inputs = build(space, architecture), first_rows(task, batch)
    names = [port.name for port in task.signature.inputs]
    try:
        return export_quickly(module, inputs, names)
    except NotExportableError as first:
        try:  # the exporter that deploys knows more, and is the one that counts
            program = export_program(_of_any_inputs(module), first_rows(task, max(batch, 2)), names, "output")
        except NotExportableError as second:
            operator = second.operator or first.operator
            raise InfeasibleError(
                "build",
                f"{cost} cannot be measured, since the network cannot be exported to ONNX"
                f"{f' because of the operator {operator}' if operator else ''} ({second}); offer another operation in "
                f"search.space, or remove {cost} from search.costs",
            ) from second
    model: bytes = program.model_proto.SerializeToString()
    return model


def _of_any_inputs(module: nn.Module) -> nn.Module:
    """Return `module` with the signature that the exporter is told of."""
    import torch

    class OfAnyInputs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, *inputs: torch.Tensor) -> Any:
            return self.network(*inputs)

    return OfAnyInputs().eval()


def _repeated(tensor: Tensor, batch: int) -> Tensor:
    times = -(-batch // len(tensor))
    return tensor.repeat(times, *(1 for _ in tensor.shape[1:]))[:batch]
