"""What a forward pass works through: multiply-accumulates, and bytes that go to and from memory. Counted, not timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry, shape_wrapper

from nas_core.interfaces import SearchSpace
from nas_core.types import Architecture


def _fused_lstm(x: Sequence[int], from_input: Sequence[int], from_state: Sequence[int], *_: Any, **__: Any) -> int:
    """Return the floating-point operations of a layer over x (length, N, c), by the shapes of its two weights."""
    length, batch, _channels = x
    return 2 * length * batch * from_input[0] * (from_input[1] + from_state[1])


_LSTM = torch.ops.aten.mkldnn_rnn_layer
_FLOPS: Mapping[Any, Any] = {**flop_registry, _LSTM: shape_wrapper(_fused_lstm)}  # type: ignore[no-untyped-call]
"""Floating-point operations of operations by their arguments."""


class Work(NamedTuple):
    """Multiply-accumulates of matrix products and convolutions, and bytes read and written, of one batch.

    Every operation reads its operands and writes its result, as if nothing stayed in a cache and nothing was fused: an
    upper bound of what memory sees. Views move nothing.
    """

    macs: float
    bytes: float


def without_contents(space: SearchSpace, architecture: Architecture) -> nn.Module:
    """Return the network on torch's device `meta`: its tensors have shapes, and no memory."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        return space.build(architecture).to("meta")


def count_macs(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    """Return the multiply-accumulates of matrix products for the batch `inputs`; puts the module in eval mode."""
    module.eval()
    # torch counts the products of attention only where it is not one fused kernel, and those of such an LSTM never.
    counter = FlopCounterMode(display=False, custom_mapping={_LSTM: _fused_lstm})
    with counter, torch.inference_mode(), sdpa_kernel(SDPBackend.MATH):
        module(*inputs)
    return counter.get_total_flops() / 2


def count_work(module: nn.Module, inputs: Sequence[Tensor]) -> Work:
    """Return the work of one forward pass of the batch `inputs`; puts the module in eval mode."""
    seen = _count(module.eval(), inputs)
    return Work(seen.flops / 2, seen.bytes)


def count_operations(module: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Return how many operations that make a tensor one forward pass has; views are none."""
    return _count(module, inputs).operations


def _count(module: nn.Module, inputs: Sequence[Tensor]) -> _Operations:
    seen = _Operations()
    # In inference mode, what is made of several operations would be seen as one.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), seen:
        module(*inputs)
    return seen


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch is not typed
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.flops = 0.0
        self.operations = 0

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        operands = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        held = {operand.untyped_storage()._cdata for operand in operands}  # noqa: SLF001  torch has no other identity
        if not all(each.untyped_storage()._cdata in held for each in results) or func._schema.is_mutable:  # noqa: SLF001
            self.operations += 1
            if func.overloadpacket in _FLOPS:
                self.flops += _FLOPS[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in (*operands, *results))
        return result
