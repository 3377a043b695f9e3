"""What all trainings of supernets share: what they are, the space that they need, their batches, their randomness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas_core import registry
from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import Relaxable, SearchSpace, State, Task

Batch = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]
"""Inputs and targets in port order."""


def relaxable(method: str, space: SearchSpace) -> Relaxable:
    """Return `space`; InputError, which lists the spaces that have one, unless it has a supernet."""
    if isinstance(space, Relaxable):
        return space
    having = [name for name in registry.names("spaces") if _is_relaxable(name)]
    raise InputError(
        f"{method}: needs a space with a supernet, {type(space).__name__} has none; choose one of {', '.join(having)}"
    )


def _is_relaxable(name: str) -> bool:
    try:
        factory = registry.load("spaces", name)
    except InputError:  # of another package, which is broken
        return False
    return all(hasattr(factory, member) for member in ("slots", "supernet", "path", "derive", "extract"))


def identity(method: str, version: int, space: SearchSpace, seed: int, **options: Any) -> dict[str, Any]:
    """Return what a state has to agree with to be gone on from, as JSON values."""
    return {"method": method, "version": version, "space": algebra.digest(space), "seed": seed, "options": options}


def check_identity(own: Mapping[str, Any], state: State) -> None:
    """Raise InputError, which names what differs, unless `state` was saved by a training of the same identity."""
    theirs = state.values.get("identity", {})
    for key, value in own.items():
        if theirs.get(key) != value:
            raise InputError(
                f"state.{key}: must be that of this training, {_short(value)}, got {_short(theirs.get(key))}; "
                "train the supernet anew, or with what the state was saved by"
            )


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else str(value)


class Batches:
    """The batches of a split by their number, without end: each epoch in an order of its own, by (seed, epoch).

    In order they cost nothing besides; going back, or ahead, passes by those in between.
    """

    def __init__(self, task: Task, split: str, size: int, seed: int) -> None:
        self._task, self._split, self._size, self._seed = task, split, size, seed
        self.epoch = sum(1 for _ in task.batches(split, size))
        self._next = 0
        self._rest: Iterator[Batch] = iter(())

    def at(self, number: int) -> Batch:
        """Return batch `number`, counted from 0 over all epochs."""
        epoch, place = divmod(number, self.epoch)
        if number != self._next or place == 0:
            order = np.random.default_rng((self._seed, epoch))
            self._rest = iter(self._task.batches(self._split, self._size, order))
            for _ in range(place):
                next(self._rest)
        self._next = number + 1
        return next(self._rest)


@contextmanager
def seeded(*parts: int) -> Iterator[None]:
    """Seed torch's global generators by non-negative numbers for a while; afterwards they are as they were."""
    seed = int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def tensors(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the outputs of a network with one or several."""
    return outputs if isinstance(outputs, tuple) else (outputs,)
