"""Several classification tasks learned at once: their rows side by side, one batch for all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nas_core.errors import InputError, unknown
from nas_core.tasks.classification import sampled
from nas_core.types import Port, Signature

Arrays = tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]
"""Inputs in port order, float32 (rows_i, *shape), and the class of each of their rows, int64 (rows_i,), per output."""

NOTHING = -100
"""The class of a row that only fills up a batch; loss and metrics leave it out."""


class MultiTask:
    """Tasks whose rows have nothing to do with one another, each with its own input, output and number of rows.

    Task i has input i and output i. A split has as many rows as its longest task. In training (batches with an order)
    a shorter one begins anew when it is through, shuffled differently each time; otherwise its rows are repeated with
    the class `NOTHING`, and count only once. Travels as numpy arrays; tensors are made where a split is first used.

    `weights` are the tasks' shares in the loss, relative to one another; equal if left out. InputError for arrays that
    do not fit the signature.
    """

    def __init__(
        self, signature: Signature, splits: Mapping[str, Arrays], *, weights: Sequence[float] | None = None
    ) -> None:
        count = len(signature.inputs)
        names = [port.name for port in signature.outputs]
        if len(names) != count or not count or len(set(names)) < count:
            raise InputError(
                f"task: multi-task needs an output with a name of its own per input, "
                f"got {count} inputs and the outputs {', '.join(names) or '(none)'}"
            )
        shares = [1.0] * count if weights is None else list(weights)
        if len(shares) != count or not all(0 < share < math.inf for share in shares):
            raise InputError(f"weights: must be a number > 0 for each of {count} tasks, got {weights!r}")
        self.signature = signature
        self._shares = [share / sum(shares) for share in shares]
        self._splits = dict(splits)
        self._tensors: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for split, (inputs, targets) in self._splits.items():
            self._check(split, inputs, targets)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tensors": {}}

    def rows(self, split: str) -> int:
        """Return how many rows the longest task of `split` has; InputError if this task was not given that split."""
        if split not in self._splits:
            raise unknown("split", split, self._splits)
        return max(map(len, self._splits[split][1]))

    def batches(
        self, split: str, size: int, order: np.random.Generator | None = None
    ) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """Yield (inputs, targets) in port order; shuffled and cycled by `order`, in stored order and padded without it.

        Batches have at most `size` rows and differ by at most one row, so that none is too small for batch statistics.
        """
        rows = self.rows(split)
        tasks = self._load(split)
        columns = [_padded(task, rows) if order is None else _cycled(task, rows, order) for task in tasks]
        count = math.ceil(rows / size)
        for i in range(count):
            part = slice(i * rows // count, (i + 1) * rows // count)
            yield tuple(x[index[part]] for x, _, index in columns), tuple(y[part] for _, y, _ in columns)

    def sample(self, share: float, seed: int) -> Self:
        """Return the tasks with a stratified sample of each one's rows; see `nas_core.interfaces.Divisible`."""
        inputs, targets = self._splits["train"]
        rows = [sampled(target, share, seed) for target in targets]
        train = (
            tuple(x[chosen] for x, chosen in zip(inputs, rows, strict=True)),
            tuple(y[chosen] for y, chosen in zip(targets, rows, strict=True)),
        )
        other = copy(self)
        vars(other).update(_splits={**self._splits, "train": train}, _tensors={})
        return other

    def loss(self, outputs: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> Tensor:
        """Return the weighted mean of the tasks' mean cross-entropies, in nats; a task without rows adds 0."""
        losses = [
            share * functional.cross_entropy(logits, target, ignore_index=NOTHING, reduction="sum")
            / (target != NOTHING).sum().clamp(min=1)
            for share, logits, target in zip(self._shares, outputs, targets, strict=True)
        ]  # fmt: skip
        return torch.stack(losses).sum()

    def metrics(self, outputs: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> dict[str, float]:
        """Return `accuracy/<output>` and `log_loss/<output>` (nats) per task, and `accuracy`, the tasks' plain mean."""
        found: dict[str, float] = {}
        for port, logits, target in zip(self.signature.outputs, outputs, targets, strict=True):
            real = target != NOTHING
            hit = logits.argmax(dim=1) == target
            found[f"accuracy/{port.name}"] = hit[real].double().mean().item()
            found[f"log_loss/{port.name}"] = functional.cross_entropy(logits[real].double(), target[real]).item()
        accuracies = [value for name, value in found.items() if name.startswith("accuracy/")]
        return {"accuracy": sum(accuracies) / len(accuracies), **found}

    def _load(self, split: str) -> list[tuple[Tensor, Tensor]]:
        if split not in self._tensors:
            # A copy, because arrays out of a shared object store are read-only, which torch cannot express.
            self._tensors[split] = [
                (torch.tensor(x), torch.tensor(y)) for x, y in zip(*self._splits[split], strict=True)
            ]
        return self._tensors[split]

    def _check(self, split: str, inputs: tuple[np.ndarray, ...], targets: tuple[np.ndarray, ...]) -> None:
        count = len(self.signature.inputs)
        if len(inputs) != count or len(targets) != count:
            raise InputError(
                f"{split}: the signature has {count} tasks, got {len(inputs)} inputs and {len(targets)} targets"
            )
        for port, output, rows, target in zip(
            self.signature.inputs, self.signature.outputs, inputs, targets, strict=True
        ):
            _check_task(split, port, output, rows, target)


def _check_task(split: str, port: Port, output: Port, rows: np.ndarray, target: np.ndarray) -> None:
    if not len(target):
        raise InputError(f"{split}.{output.name}: needs at least one row, got none")
    if rows.shape != (len(target), *port.shape) or rows.dtype != port.dtype:
        raise InputError(
            f"{split}.{port.name}: expected {port.dtype} {(len(target), *port.shape)}, got {rows.dtype} {rows.shape}"
        )
    if target.dtype != np.int64 or target.min() < 0 or target.max() >= output.classes:
        raise InputError(
            f"{split}.{output.name}: expected int64 classes from 0 to {output.classes - 1}, "
            f"got {target.dtype} from {target.min()} to {target.max()}"
        )


def _cycled(task: tuple[Tensor, Tensor], rows: int, order: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs, and targets and indices into the inputs for `rows` rows: shuffled, again and again if need be."""
    inputs, target = task
    rounds = [order.permutation(len(target)) for _ in range(math.ceil(rows / len(target)))]
    index = torch.from_numpy(np.concatenate(rounds)[:rows])
    return inputs, target[index], index


def _padded(task: tuple[Tensor, Tensor], rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same in stored order; what is beyond the task's own rows has no class."""
    inputs, target = task
    place = torch.arange(rows)
    index = place % len(target)
    return inputs, torch.where(place < len(target), target[index], NOTHING), index
