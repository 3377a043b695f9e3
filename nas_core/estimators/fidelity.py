"""What a fidelity means: which parts of a training it cuts down, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from nas_core.errors import InputError
from nas_core.interfaces import Divisible, Resizable, Scalable, SearchSpace, Task

Axis = Literal["epochs", "data", "resolution", "width"]

_SIDES = ("resolution", "width")
"""What the cost of a training goes up with by the square."""


class Effort(NamedTuple):
    """Shares of a full training, each in (0, 1]: of epochs, rows, height and width of images, and channels."""

    epochs: float = 1.0
    data: float = 1.0
    resolution: float = 1.0
    width: float = 1.0

    def within(self, other: Effort) -> bool:
        """Tell whether this is less than `other`: nowhere more, and somewhere less."""
        return self != other and all(mine <= theirs for mine, theirs in zip(self, other, strict=True))


def effort(axes: Sequence[Axis], fidelity: float) -> Effort:
    """Return the effort at `fidelity`, which is the share of the cost, divided among `axes` alike.

    Each of n axes takes fidelity^(1/n) of the cost. The cost goes up with epochs and rows, and with the square of
    resolution and of width, so these two take the square root of that.
    """
    share = fidelity ** (1 / len(axes))
    return Effort(**{axis: share**0.5 if axis in _SIDES else share for axis in axes})


def check_axes(axes: Sequence[Axis], space: SearchSpace, task: Task) -> None:
    """Raise InputError unless `axes` are distinct, one at least, and `space` and `task` have what they cut down."""
    for i, axis in enumerate(axes):
        if axis in axes[:i]:
            raise InputError(f"fidelity: must not name an axis twice, got {axis} again")
    if not axes:
        raise InputError(f"fidelity: must name one or more of {', '.join(get_args(Axis))}, got none")
    if "data" in axes:
        divisible("fidelity", task)
    if "resolution" in axes and not isinstance(task, Resizable):
        raise InputError(f"fidelity: resolution is of images, and the task is {_kind(task)}; leave it out")
    if "width" in axes and not isinstance(space, Scalable):
        raise InputError(
            f"fidelity: width needs a space whose networks can be made narrower, and {_kind(space)} has no such; "
            "leave it out, or choose another space, such as chain, nas-bench-201 or hierarchical"
        )


def divisible(option: str, task: Task) -> Divisible:
    """Return `task`, of which a part of the rows can be taken; InputError, which names `option`, if it cannot."""
    if not isinstance(task, Divisible):
        raise InputError(f"{option}: needs a task of which a sample can be drawn, and {_kind(task)} has none")
    return task


def narrowed(space: SearchSpace, share: float) -> SearchSpace:
    """Return `space` with `share` of the channels; it is one that `check_axes` has passed."""
    return space.scaled(share) if share < 1 and isinstance(space, Scalable) else space


def reduced(task: Task, effort: Effort, seed: int) -> Task:
    """Return `task` with the share of rows, drawn by `seed`, and of resolution; it is one that `check_axes` passed."""
    if effort.data < 1:
        task = divisible("data", task).sample(effort.data, seed)
    return task.resized(effort.resolution) if effort.resolution < 1 and isinstance(task, Resizable) else task


def _kind(part: object) -> str:
    return type(part).__name__
