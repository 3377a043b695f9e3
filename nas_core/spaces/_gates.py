"""What supernets of all spaces share: checks of gates, and architectures read off scores. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace
from nas_core.types import Architecture, Live

if TYPE_CHECKING:
    from torch import Tensor, nn


def everything(slots: Sequence[int]) -> Live:
    """Return all options of all slots."""
    return tuple(tuple(range(options)) for options in slots)


def checked(live: Live | None, slots: Sequence[int]) -> Live:
    """Return `live`, or everything; InputError unless it has rising option indices for each of `slots`."""
    if live is None:
        return everything(slots)
    if len(live) != len(slots):
        raise InputError(f"live: must have the options of {len(slots)} slots, got {len(live)}")
    for slot, (chosen, options) in enumerate(zip(live, slots, strict=True)):
        if list(chosen) != sorted(set(chosen)) or not all(0 <= option < options for option in chosen):
            raise InputError(f"live[{slot}]: must be rising option indices below {options}, got {tuple(chosen)}")
    return live


def best_options(space: SearchSpace, scores: Sequence[Sequence[float]]) -> Architecture:
    """Return the architecture of the highest score of each decision that is active; of equal ones the first.

    For spaces whose slots are their decisions. InputError unless there is a score for each option.
    """
    decisions = space.decisions
    if [len(row) for row in scores] != [len(decision.options) for decision in decisions]:
        sizes = [len(decision.options) for decision in decisions]
        raise InputError(f"scores: must have {sizes} values per slot, got {[len(row) for row in scores]}")
    chosen: list[int] = []
    on: list[bool] = []
    for decision, row in zip(decisions, scores, strict=True):
        on.append(all(on[earlier] and chosen[earlier] in options for earlier, options in decision.active_if))
        chosen.append(max(range(len(row)), key=row.__getitem__) if on[-1] else 0)
    return tuple(chosen)


def active_path(space: SearchSpace, architecture: Architecture) -> Live:
    """Return the one option of each decision that is active, nothing of the others."""
    on = algebra.active(space, architecture)
    return tuple((option,) if is_on else () for option, is_on in zip(architecture, on, strict=True))


def selected(supernet: nn.Module, build: Callable[[Live], nn.Module], live: Live) -> dict[str, Tensor]:
    """Return those of the state of `supernet` that `build(live)` has, by the same names.

    For spaces whose supernets hold the stand-alone networks' tensors as they are.
    """
    import torch

    state = supernet.state_dict()
    with torch.device("meta"):
        names = build(live).state_dict()
    if missing := names.keys() - state.keys():
        raise InputError(f"live: {min(missing)} is not in this supernet; build it with the options it belongs to")
    return {name: state[name].detach().clone() for name in names}
