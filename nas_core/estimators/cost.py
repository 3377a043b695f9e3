"""What a network costs to keep and to run, counted rather than timed."""

from __future__ import annotations

from torch import nn

from nas_core.counting import count_macs
from nas_core.interfaces import Task


def cost(module: nn.Module, task: Task, split: str) -> dict[str, float]:
    """Return `params`, `macs` and `flops`, for one row.

    `params` are the trainable parameters, `macs` the multiply-accumulates of matrix products and convolutions, `flops`
    the floating-point operations of these, two each. The row is the first of `split`. Leaves the module in eval mode,
    where one row is enough for batch statistics.
    """
    inputs, _ = next(iter(task.batches(split, 1)))
    macs = count_macs(module, inputs)
    params = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    return {"params": float(params), "macs": macs, "flops": 2 * macs}
