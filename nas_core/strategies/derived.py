"""The strategy that proposes what a supernet came to."""

from __future__ import annotations

from collections.abc import Sequence

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace
from nas_core.types import Architecture, Objective, Proposal, Trial


class Derived:
    """Proposes `candidates`, best first, each once: those of the search's supernet, where the spec names none.

    A candidate is one option index per decision. Twins are proposed once. InputError for a candidate that is no
    architecture of the space.
    """

    def __init__(
        self,
        space: SearchSpace,
        _objectives: Sequence[Objective],
        _seed: int,
        *,
        candidates: tuple[tuple[int, ...], ...] = (),
    ) -> None:
        self._space = space
        self._candidates: dict[Architecture, tuple[int, Architecture]] = {}
        for rank, candidate in enumerate(candidates):
            try:
                algebra.validate(space, candidate)
            except InputError as error:
                raise error.at(f"candidates[{rank}]") from error
            self._candidates.setdefault(algebra.canonical(space, candidate), (rank, candidate))

    def propose(self, history: Sequence[Trial], n: int) -> list[Proposal]:
        """Return the next `n` candidates; the contract is that of `Strategy.propose`."""
        tried = {algebra.canonical(self._space, trial.architecture) for trial in history if not trial.origin}
        waiting = [ranked for canonical, ranked in self._candidates.items() if canonical not in tried]
        return [Proposal(architecture=found, why=(("rank", float(rank)),)) for rank, found in waiting[:n]]
