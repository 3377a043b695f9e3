"""Regularised evolution (Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import islice

import numpy as np

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace
from nas_core.objectives import key, value
from nas_core.strategies._drawing import Draw, Drawing
from nas_core.strategies._finished import finished
from nas_core.types import Objective, Proposal, Status, Trial

_MUTATIONS = 8
"""How many mutations of one parent may repeat what is known, before there is another tournament."""


class RegularizedEvolution(Drawing):
    """Evolution that lets the oldest die, not the worst (Real et al. 2019, algorithm 1).

    The first `population` architectures are random. Then each proposal is a mutation of the best of `sample` trials,
    drawn with replacement from the `population` that finished last; best is by constrained domination, ties by the
    objectives in order. Where the mutation is known, the same parent mutates again, before there is another tournament.
    Only ok trials join the population; others are replaced while it is being filled, and pending ones count as if they
    will be ok. Trials of an earlier cycle are its oldest members.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        seed: int,
        *,
        population: int = 20,
        sample: int = 5,
    ) -> None:
        super().__init__(space, objectives, seed)
        for option, given in (("population", population), ("sample", sample)):
            if given < 1:
                raise InputError(f"{option}: must be >= 1, got {given}")
        self._population = population
        self._sample = sample
        self._mutable = len(list(islice(algebra.architectures(space), 2))) == 2

    def _drawing(self, history: Sequence[Trial], rng: np.random.Generator) -> Draw:
        pending = sum(trial.status is Status.PENDING and trial.fidelity == 1.0 for trial in history)
        done = finished(history)
        missing = self._population - len(done) - pending
        population = done[-self._population :]

        winner = cache(lambda _made, _tournament: self._winner(population, rng))
        draws: Counter[int] = Counter()

        def draw(made: int) -> Proposal:
            if made < missing or not population or not self._mutable:
                return Proposal(architecture=algebra.sample(self._space, rng), why=(("drawn", "at random"),))
            draws[made] += 1
            return self._child(winner(made, (draws[made] - 1) // _MUTATIONS), rng)

        return draw

    def _winner(self, population: Sequence[Trial], rng: np.random.Generator) -> Trial:
        rivals: list[Trial] = [population[i] for i in rng.integers(len(population), size=self._sample)]
        return min(rivals, key=lambda trial: key(trial.metrics or {}, self._objectives))

    def _child(self, parent: Trial, rng: np.random.Generator) -> Proposal:
        architecture, mutation = algebra.mutate(self._space, parent.architecture, rng)
        why: list[tuple[str, float | str]] = [("mutation", mutation), ("tournament", float(self._sample))]
        why += [(f"parent.{o.metric}", value(parent.metrics or {}, o)) for o in self._objectives]
        return Proposal(architecture=architecture, parents=(parent.number,), why=tuple(why))
