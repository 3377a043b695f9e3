"""What a network costs to keep and to run, counted rather than timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nas_core.interfaces import Task


def cost(module: nn.Module, task: Task, split: str) -> dict[str, float]:
    """Return `params`, the trainable parameters, and `macs`, the multiply-accumulates of matrix products for one row.

    The row is the first of `split`. Leaves the module in eval mode, where one row is enough for batch statistics.
    """
    module.eval()
    inputs, _ = next(iter(task.batches(split, 1)))
    # torch counts the products of attention only where it is not one fused kernel, and those of such an LSTM never.
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mkldnn_rnn_layer: _fused_lstm})
    with counter, torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        module(*inputs)
    params = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    return {"params": float(params), "macs": counter.get_total_flops() / 2}


def _fused_lstm(x: Sequence[int], from_input: Sequence[int], from_state: Sequence[int], *_: Any, **__: Any) -> int:
    """Return the floating-point operations of a layer over x (length, N, c), by the shapes of its two weights."""
    length, batch, _channels = x
    return 2 * length * batch * from_input[0] * (from_input[1] + from_state[1])
