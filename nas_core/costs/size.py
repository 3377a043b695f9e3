"""How large the file of a network is when its weights are stored in eight bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas_core.costs._network import build, first_rows
from nas_core.interfaces import SearchSpace, Task
from nas_core.types import Architecture, Metrics

if TYPE_CHECKING:
    from torch import Tensor, nn

_SCALE = 5  # bytes: a float32 and a zero point of one byte
_NODE = 780  # bytes: a node, those that quantise its input and output, their scales and zero points, and all names


class Size:
    """Counts the size of the exported model after quantisation to int8.

    `model_size_mb`, in MB of 10^6 bytes: a byte for each weight of a matrix or a kernel, and a scale and a zero point
    for each of its output channels; four bytes for every other number (biases, norms and their statistics,
    embeddings); and a constant for each operation of the graph. That is within a third of the file that ONNX Runtime's
    static quantisation writes (weights by channel, activations as pairs of nodes), and within a hundredth where weights
    are millions.
    """

    cost = "a forward pass of one row"
    reference = "ONNX Runtime, static quantisation"
    metrics = ("model_size_mb",)
    timed = False

    def __init__(self, space: SearchSpace, task: Task) -> None:
        self._space, self._task = space, task

    def measure(self, architecture: Architecture) -> Metrics:
        """Return `model_size_mb`."""
        module = build(self._space, architecture)
        return {"model_size_mb": int8_bytes(module, first_rows(self._task, 1)) / 1e6}


def int8_bytes(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Return the bytes of the quantised model of `module`, which is in eval mode."""
    import torch

    from nas_core.counting import count_operations

    quantised = {
        id(weight): weight
        for layer in module.modules()
        if not isinstance(layer, torch.nn.Embedding)
        for weight in (*layer.parameters(recurse=False), *layer.buffers(recurse=False))
        if weight.dim() > 1 and weight.is_floating_point()
    }
    held = sum(weight.numel() + _SCALE * len(weight) for weight in quantised.values())
    rest = [each for each in (*module.parameters(), *module.buffers()) if id(each) not in quantised]
    held += sum(4 * each.numel() for each in rest)
    return held + _NODE * count_operations(module, inputs)
