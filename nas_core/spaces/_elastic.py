"""Networks of several sizes that share one set of tensors: each has the first channels, and the middle of a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a network without memory: its names and shapes, and how it computes."""
    with torch.device("meta"):
        return build()


def sliced(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a view of `tensor` of `shape`: the first of its outputs and inputs, the middle of its kernel."""
    places = tuple(
        slice(size) if axis < 2 else slice((whole - size) // 2, (whole - size) // 2 + size)
        for axis, (whole, size) in enumerate(zip(tensor.shape, shape, strict=True))
    )
    return tensor[places] if places else tensor


def shared(networks: Iterable[nn.Module]) -> nn.Module:
    """Return a module without a forward that holds, by the names of `networks`, the largest of their tensors."""
    root = nn.Module()
    for network in networks:
        parameters = dict(network.named_parameters())
        for name, tensor in network.state_dict(keep_vars=True).items():
            _place(root, name, tensor, is_parameter=name in parameters)
    return root


def _place(root: nn.Module, name: str, tensor: Tensor, *, is_parameter: bool) -> None:
    *path, last = name.split(".")
    for part in path:
        if part not in root._modules:  # noqa: SLF001  the names of a tree are its public form
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    known = getattr(root, last, None)
    if known is not None and known.numel() >= tensor.numel():
        return
    if is_parameter:
        setattr(root, last, tensor)
    else:
        root.register_buffer(last, tensor)


def call(network: nn.Module, tensors: Mapping[str, Tensor], inputs: tuple[Tensor, ...], **arguments: Any) -> Any:
    """Call `network`, which is without memory, with slices of `tensors`; what it changes of them is changed there."""
    shapes = network.state_dict()
    return functional_call(
        network, {name: sliced(tensors[name], meta.shape) for name, meta in shapes.items()}, inputs, arguments
    )


def extracted(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of `network`, which is without memory, as slices of `tensors`, copied."""
    return {name: sliced(tensors[name], meta.shape).detach().clone() for name, meta in network.state_dict().items()}
