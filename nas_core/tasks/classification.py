"""What all tasks of one class a row have in common: splits as batches, cross-entropy, and metrics of the classes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any, Self

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from nas_core.errors import InputError, unknown
from nas_core.types import Port, Signature

Arrays = tuple[tuple[np.ndarray, ...], np.ndarray]
"""Inputs in port order, and the index of each row's class, int64 (rows,)."""


class Classification(ABC):
    """One classification target; knows the splits it was given and no other.

    What kind of data it is for, a subclass says by its `_check_ports`. Travels as numpy arrays; the tensors are made
    where a split is first used. InputError for ports of another kind, and for arrays that do not fit the ports.
    """

    def __init__(self, signature: Signature, splits: Mapping[str, Arrays]) -> None:
        self.signature = signature
        self._splits = dict(splits)
        self._tensors: dict[str, tuple[Tensor, ...]] = {}
        if len(signature.outputs) != 1:
            raise InputError(f"task: must have one target, got {len(signature.outputs)} outputs; train them apart")
        self._check_ports(signature.inputs)
        for split, (inputs, target) in self._splits.items():
            self._check_arrays(split, inputs, target)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tensors": {}}

    @abstractmethod
    def _check_ports(self, ports: tuple[Port, ...], /) -> None:
        """Raise InputError unless `ports` are what this kind of data looks like."""

    def rows(self, split: str) -> int:
        """Return how many rows `split` holds; InputError if this task was not given that split."""
        if split not in self._splits:
            raise unknown("split", split, self._splits)
        return len(self._splits[split][1])

    def batches(
        self, split: str, size: int, order: np.random.Generator | None = None
    ) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """Yield (inputs, targets) in port order; shuffled by `order`, in stored order without it.

        Batches have at most `size` rows and differ by at most one row, so that none is too small for batch statistics.
        """
        rows = self.rows(split)
        tensors = self._load(split)
        if order is not None:
            index = torch.from_numpy(order.permutation(rows))
            tensors = tuple(tensor.index_select(0, index) for tensor in tensors)
        count = math.ceil(rows / size)
        for i in range(count):
            batch = tuple(tensor[i * rows // count : (i + 1) * rows // count] for tensor in tensors)
            yield batch[:-1], batch[-1:]

    def sample(self, share: float, seed: int) -> Self:
        """Return the task with a stratified sample of `train`; see `nas_core.interfaces.Divisible`."""
        inputs, target = self._splits["train"]
        rows = sampled(target, share, seed)
        return self._with({**self._splits, "train": (tuple(array[rows] for array in inputs), target[rows])})

    def _with(self, splits: Mapping[str, Arrays], signature: Signature | None = None) -> Self:
        """Return this task, as it is set, of other rows."""
        other = copy(self)
        vars(other).update(signature=signature or self.signature, _splits=dict(splits), _tensors={})
        return other

    def loss(self, outputs: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> Tensor:
        """Return the mean cross-entropy of logits (rows, classes) and class indices (rows,), in nats."""
        return functional.cross_entropy(outputs[0], targets[0])

    def metrics(self, outputs: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> dict[str, float]:
        """Return `accuracy`, `balanced_accuracy`, `log_loss` (nats) and, of two classes, `auroc`.

        Balanced accuracy is the mean recall of the classes that occur. `auroc` is left out where one class is absent.
        """
        logits, target = outputs[0].double(), targets[0]
        hit = logits.argmax(dim=1) == target
        count = torch.bincount(target, minlength=logits.shape[1])
        right = torch.bincount(target[hit], minlength=logits.shape[1])
        found = {
            "accuracy": hit.double().mean().item(),
            "balanced_accuracy": (right[count > 0] / count[count > 0]).mean().item(),
            "log_loss": functional.cross_entropy(logits, target).item(),
        }
        if logits.shape[1] == 2 and bool((count > 0).all()):
            found["auroc"] = _auroc((logits[:, 1] - logits[:, 0]).numpy(force=True), target.numpy(force=True) == 1)
        return found

    def _load(self, split: str) -> tuple[Tensor, ...]:
        if split not in self._tensors:
            inputs, target = self._splits[split]
            # A copy, because arrays out of a shared object store are read-only, which torch cannot express.
            self._tensors[split] = tuple(torch.tensor(np.ascontiguousarray(array)) for array in (*inputs, target))
        return self._tensors[split]

    def _check_arrays(self, split: str, inputs: tuple[np.ndarray, ...], target: np.ndarray) -> None:
        ports = self.signature.inputs
        if len(inputs) != len(ports):
            raise InputError(f"{split}: the signature has {len(ports)} inputs, got {len(inputs)} arrays")
        for port, array in zip(ports, inputs, strict=True):
            if array.shape != (len(target), *port.shape) or array.dtype != port.dtype:
                raise InputError(
                    f"{split}.{port.name}: expected {port.dtype} {(len(target), *port.shape)}, "
                    f"got {array.dtype} {array.shape}"
                )


def sampled(target: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return the rows, rising, of a sample of `share` of each class of `target` (rows,), rounded up."""
    order = np.random.default_rng(seed).permutation(len(target))
    classes = target[order]
    found = [order[classes == c] for c in np.unique(target)]
    return np.sort(np.concatenate([rows[: math.ceil(share * len(rows) - 1e-9)] for rows in found]))


def only_port(ports: tuple[Port, ...], what: str, dtype: str, dimensions: int) -> Port:
    """Return the one port of `ports`; InputError, which says `what` it must be, unless it is of that form.

    int64 has a number of classes, float32 has none; all sizes are known.
    """
    if len(ports) == 1:
        (port,) = ports
        sized = len(port.shape) == dimensions and min(port.shape) > 0
        if sized and port.dtype == dtype and (port.classes > 0) == (dtype == "int64"):
            return port
    found = ", ".join(f"{p.name!r} {p.dtype} {p.shape} of {p.classes} classes" for p in ports) or "none"
    raise InputError(f"task: {what}, got {found}; choose the kind of task that the data is of")


def _auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve: the share of (positive, negative) pairs in order (Mann and Whitney 1947)."""
    count = int(positive.sum())
    ranks = rankdata(score)[positive].sum()
    return float((ranks - count * (count + 1) / 2) / (count * (len(positive) - count)))
