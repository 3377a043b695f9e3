"""Asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nas_core.interfaces import SearchSpace
from nas_core.strategies._rungs import Climb, Promoting
from nas_core.types import Objective, Status, Trial


class ASHA(Promoting):
    """Asynchronous successive halving around another strategy: short trials, the best go on (Li et al. 2020).

    Rungs are the fidelities 1, 1/`eta`, 1/`eta`² ... down to `min_fidelity`. A trial among the best 1/`eta` of those
    that have ended in its rung is promoted: the same architecture in the next rung, going on from its checkpoint; best
    is by constrained domination, ties by the objectives in order. What failed or was pruned counts as last and is not
    promoted. If nothing can be promoted, `around`, made with `options`, proposes for the lowest rung.
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

    def _entry(self, _index: int, /) -> float:
        return self._rungs[0]

    def _due(self, climbs: Sequence[Climb], /) -> Iterator[Trial]:
        """See algorithm 2, `get_job`: from the highest rung down, so that good ones come to their end soon."""
        tops = {climb[-1].number for climb in climbs}
        for fidelity in reversed(self._rungs[:-1]):
            rung = [trial for climb in climbs for trial in climb if trial.fidelity == fidelity]
            ended = sum(trial.status is not Status.PENDING for trial in rung)
            best = self._best_first(rung)[: ended // self._eta]
            yield from (trial for trial in best if trial.number in tops)
