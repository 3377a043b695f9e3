"""What a network costs to keep and to run, counted rather than timed."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas_core.interfaces import Task


def cost(module: nn.Module, task: Task, split: str) -> dict[str, float]:
    """Return `params`, the trainable parameters, and `macs`, the multiply-accumulates of matrix products for one row.

    The row is the first of `split`. Leaves the module in eval mode, where one row is enough for batch statistics.
    """
    module.eval()
    inputs, _ = next(iter(task.batches(split, 1)))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(*inputs)
    params = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    return {"params": float(params), "macs": counter.get_total_flops() / 2}
