"""How much memory a network will take, before it takes it.

Every storage is counted from when an operation makes it until nothing refers to it any more, as torch's own accounting
does. That is done for two small batches, operation by operation; what a batch of any other size would hold at the same
operation follows, since each storage is as large as the batch or does not depend on it. So an estimate takes two steps
of a few rows. A network whose weights alone are large is run on torch's device `meta` instead, whose tensors have
shapes and no contents: slower, but nothing is allocated.

What is not seen: the scratch space of single kernels (a convolution on a CPU copies maps into layouts of its own), and
what an allocator keeps. `RESIDENT` allows for both.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nas_core.counting import without_contents
from nas_core.interfaces import SearchSpace, Task
from nas_core.types import Architecture

MEGABYTE = 1e6
RESIDENT = 1.6
"""How many times as much as the tensors of a training its process may hold, above what it held before."""

_MOMENTS = 2  # of AdamW, a number each per trainable parameter
_LARGE = 64_000_000  # bytes of weights that are not allocated for an estimate
_FEW = (2, 4)  # rows; batch normalisation needs two

Batch = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]
"""Inputs and targets."""


def training_peak_mb(space: SearchSpace, task: Task, architecture: Architecture, batch_size: int) -> float:
    """Return the most that tensors hold in a training step with AdamW, in MB of 10^6 bytes.

    Weights, the gradients and moments of the trainable ones, a batch of `batch_size` rows of `train` (all of them if
    there are fewer), and whatever forward and backward pass keep or make meanwhile.
    """

    def step(module: nn.Module, batch: Batch) -> None:
        inputs, targets = batch
        outputs = module.train()(*inputs)
        loss = task.loss(outputs if isinstance(outputs, tuple) else (outputs,), targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch declares it so

    rows = min(batch_size, task.rows("train"))
    moments = _MOMENTS * sum(_size(w) for w in without_contents(space, architecture).parameters() if w.requires_grad)
    return (_peak(space, task, architecture, step, rows) + moments) / MEGABYTE


def inference_peak_mb(space: SearchSpace, task: Task, architecture: Architecture, batch: int) -> float:
    """Return the most that tensors hold in a forward pass of `batch` rows, weights included, in MB of 10^6 bytes."""

    def step(module: nn.Module, given: Batch) -> None:
        with torch.no_grad():
            module.eval()(*given[0])

    return _peak(space, task, architecture, step, batch) / MEGABYTE


def _peak(
    space: SearchSpace, task: Task, architecture: Architecture, step: Callable[[nn.Module, Batch], None], rows: int
) -> float:
    """Return the most bytes that a step of `rows` rows holds."""
    bare = without_contents(space, architecture)
    if sum(map(_size, _weights(bare))) > _LARGE:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            return float(_course(bare, _batch(task, rows, "meta"), step).max())
    with torch.random.fork_rng(devices=[]):
        module = space.build(architecture)
        batches = [_batch(task, few) for few in _FEW]
        few, more = ((len(batch[0][0]), _course(module, batch, step)) for batch in batches)
    return _extrapolated(few, more, rows)


def _batch(task: Task, rows: int, device: str = "cpu") -> Batch:
    """Return the first rows of `train`, in memory of their own: a slice holds all that it is a slice of."""
    inputs, targets = next(iter(task.batches("train", rows)))
    return tuple(t.to(device).clone() for t in inputs), tuple(t.to(device).clone() for t in targets)


def _extrapolated(few: tuple[int, NDArray[np.float64]], more: tuple[int, NDArray[np.float64]], rows: int) -> float:
    """Return the most bytes at `rows` rows by those at two other numbers of rows, each after every operation."""
    (n, held), (m, held_by_more) = few, more
    if n == m:
        return float(held.max()) * rows / n
    if len(held) != len(held_by_more):  # a network that does something else for other batches
        held, held_by_more = held.max(keepdims=True), held_by_more.max(keepdims=True)
    return float((held + (held_by_more - held) * (rows - n) / (m - n)).max())


def _weights(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _course(module: nn.Module, batch: Batch, step: Callable[[nn.Module, Batch], None]) -> NDArray[np.float64]:
    """Return the bytes that are held after each operation of `step`."""
    module.zero_grad(set_to_none=True)
    storages = _Storages()
    storages.hold(*_weights(module), *batch[0], *batch[1])
    with storages:
        step(module, batch)
    return np.array(storages.course, dtype=float)


class _Storages(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch is not typed
    """Adds up the storages that exist; `course` is their bytes at first and after each operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.course: list[int] = []
        self._now = 0
        self._held: set[int] = set()

    def hold(self, *tensors: Tensor) -> None:
        """Count the storages of `tensors` until they are gone."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()  # noqa: SLF001  torch has no other identity
            if key not in self._held:
                self._held.add(key)
                self._now += size
                weakref.finalize(storage, self._free, key, size).atexit = False
        self.course.append(self._now)

    def _free(self, key: int, size: int) -> None:
        self._held.discard(key)
        self._now -= size

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.hold(*(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)))
        return result
