"""Hyperband (Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization")."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, cycle
from typing import Any

from nas_core.interfaces import SearchSpace
from nas_core.strategies._rungs import Climb, Promoting
from nas_core.types import Objective, Status, Trial


class Hyperband(Promoting):
    """Hyperband around another strategy: successive halving in brackets, from many short trials to few long ones.

    Rungs are the fidelities 1, 1/`eta`, 1/`eta`² ... down to `min_fidelity`, k + 1 in all. Brackets s = k ... 0 follow
    one another, again and again. In bracket s, `(k + 1) // (s + 1) * eta**s` architectures, proposed by `around`, made
    with `options`, enter at fidelity `eta**-s` (Li et al. 2018, table 1; their algorithm 1 rounds up instead). When all
    trials of a bracket's rung have ended, the best 1/`eta` of it are promoted: the same architecture in the next rung,
    going on from its checkpoint; best is by constrained domination, ties by the objectives in order. What failed or was
    pruned is not promoted. No worker waits for a rung to end: meanwhile the next bracket begins.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        seed: int,
        *,
        around: str = "random",
        options: dict[str, Any] | None = None,
        eta: int = 3,
        min_fidelity: float = 0.1,
    ) -> None:
        super().__init__(space, objectives, seed, around, options or {}, eta, min_fidelity)
        count = len(self._rungs)
        self._brackets = [(count // (s + 1) * eta**s, count - 1 - s) for s in reversed(range(count))]
        """Per bracket of a round how many architectures enter, and at which rung."""

    def _entry(self, index: int, /) -> float:
        ends = list(accumulate(size for size, _ in self._brackets))
        _, rung = self._brackets[bisect_right(ends, index % ends[-1])]
        return self._rungs[rung]

    def _due(self, climbs: Sequence[Climb], /) -> Iterator[Trial]:
        start = 0
        for size, rung in cycle(self._brackets):
            if start + size > len(climbs):
                return
            yield from self._due_in(climbs[start : start + size], self._rungs[rung:])
            start += size

    def _due_in(self, bracket: Sequence[Climb], fidelities: Sequence[float]) -> Iterator[Trial]:
        """Yield what one bracket promotes, from its first rung up to the first that has not ended."""
        tops = {climb[-1].number for climb in bracket}
        planned = expected = len(bracket)
        rung = _at(fidelities[0], bracket)
        for higher in fidelities[1:]:
            if len(rung) < expected or any(trial.status is Status.PENDING for trial in rung):
                return
            planned //= self._eta
            expected = min(planned, sum(trial.status is Status.OK for trial in rung))
            below, rung = rung, _at(higher, bracket)
            if len(rung) < expected:
                yield from (trial for trial in self._best_first(below)[:planned] if trial.number in tops)


def _at(fidelity: float, climbs: Sequence[Climb]) -> list[Trial]:
    return [trial for climb in climbs for trial in climb if trial.fidelity == fidelity]
