"""What TE-NAS judges a gated supernet by (Chen, Gong and Wang 2021, sections 3.1 and 3.2), without training. N rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas_core.interfaces import Gates
from nas_core.supernets._common import tensors

_ACTIVATIONS = {getattr(torch.ops.aten, name).default for name in ("relu", "hardtanh", "silu", "hardswish", "gelu")}


def ntk_condition(network: nn.Module, inputs: Sequence[Tensor], gates: Gates) -> float:
    """Return the condition number of the neural tangent kernel of `network` on N rows: how hard it is to train.

    The kernel (N, N) holds the inner products of the rows' gradients of their summed outputs by all weights; those of
    normalisations are left out where they are biases. Batch statistics are of all rows, as in training. At most 1 /
    the machine's precision; the better, the lower.
    """
    weights = [weight for name, weight in network.named_parameters() if name.endswith("weight")]
    outputs = torch.stack([each.flatten(1).sum(1) for each in tensors(network(*inputs, gates=gates))]).sum(0)
    rows = []
    for i in range(len(outputs)):
        found = torch.autograd.grad(outputs[i], weights, retain_graph=True, allow_unused=True)
        rows.append(torch.cat([gradient.flatten() for gradient in found if gradient is not None]))
    jacobian = torch.stack(rows).double()
    values = torch.linalg.eigvalsh(jacobian @ jacobian.T)
    largest = values[-1]
    smallest = values[0].clamp_min(largest * torch.finfo(torch.float32).eps)
    return (largest / smallest).item() if largest > 0 else 1 / torch.finfo(torch.float32).eps


def linear_regions(network: nn.Module, ends: Sequence[Tensor], gates: Gates, points: int) -> int:
    """Return how many linear regions of `network` lie on the lines from the first half of the rows to the second.

    `points` are looked at on each line, evenly spaced; an activation whose input changes its sign between two of them
    has a border there, and generic borders are met one by one (Hanin and Rolnick 2019, "Complexity of linear regions in
    deep networks"). TE-NAS counts distinct patterns of activations at random points instead: in a network as wide as is
    trained each point has a pattern of its own, and all networks the same number. Batch statistics are of all points,
    as in training. The more, the more expressive.
    """
    lines = len(ends[0]) // 2
    share = torch.linspace(0, 1, points)
    inputs = [_between(x[:lines], x[lines : 2 * lines], share) for x in ends]
    with torch.no_grad(), _Signs(lines, points) as signs:
        network(*inputs, gates=gates)
    return lines + int(signs.changes)


def _between(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Return points (lines * points, ...) on the way from `start` to `end`; of whole numbers, the start's all along."""
    if not start.is_floating_point():
        return start.repeat_interleave(len(share), 0)
    share = share.view(1, -1, *[1] * (start.dim() - 1))
    return torch.lerp(start[:, None], end[:, None], share).flatten(0, 1)


class _Signs(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's are not typed
    """Counts the changes of sign of what activations are given, from point to point of each line."""

    def __init__(self, lines: int, points: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.changes = 0
        self._shape = (lines, points)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _ACTIVATIONS and len(args[0]) == self._shape[0] * self._shape[1]:
            positive = (args[0] > 0).reshape(*self._shape, -1)
            self.changes += int((positive[:, 1:] != positive[:, :-1]).sum())
        return func(*args, **(kwargs or {}))
