"""What strategies share that draw candidates one after another: the laws of `Strategy.propose`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import chain, repeat

import numpy as np

from nas_core import space as algebra
from nas_core.decisions import check_decisions
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace
from nas_core.types import Architecture, Objective, Proposal, Trial

TRIES = 64
"""How many draws in a row may repeat what is known, before the space is walked for what is left of it."""

Draw = Callable[[int], Proposal]
"""Makes one candidate, seen or not, given how many proposals this call has made already."""


class Drawing(ABC):
    """A strategy that says only how to draw a candidate; one that is known is drawn again, and at last looked for.

    That walk through the space is lazy, in random order, and ends at the first unseen architecture. So it looks at no
    more architectures than the history holds (unless the space has twins), however large the space is.
    """

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective], seed: int) -> None:
        check_decisions(space.decisions)
        if not objectives:
            raise InputError("objectives: at least one is needed, got none; name a metric and its goal")
        if seed < 0:
            raise InputError(f"seed: must be >= 0, got {seed}")
        self._space = space
        self._objectives = tuple(objectives)
        self._seed = seed
        self._canonical = cache(partial(algebra.canonical, space))

    @abstractmethod
    def _drawing(self, history: Sequence[Trial], rng: np.random.Generator, /) -> Draw:
        """Return how to draw candidates after `history`; `rng` is the only source of chance."""

    def propose(self, history: Sequence[Trial], n: int) -> list[Proposal]:
        """Return `n` unseen proposals, or all that remain; the contract is that of `Strategy.propose`."""
        rng = np.random.default_rng((self._seed, len(history)))
        seen = {(self._canonical(trial.architecture), trial.fidelity) for trial in history if not trial.origin}
        draw = self._drawing(history, rng)
        rest = map(_left_over, algebra.architectures(self._space, rng))
        proposals: list[Proposal] = []
        while len(proposals) < n:
            for candidate in chain(map(draw, repeat(len(proposals), TRIES)), rest):
                identity = (algebra.canonical(self._space, candidate.architecture), candidate.fidelity)
                if identity not in seen:
                    seen.add(identity)
                    proposals.append(candidate)
                    break
            else:
                break
        return proposals


def _left_over(architecture: Architecture) -> Proposal:
    return Proposal(architecture=architecture, why=(("drawn", f"left over: {TRIES} draws repeated known ones"),))
