"""Regularised evolution (Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search")."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace
from nas_core.objectives import key, value
from nas_core.strategies._drawing import Draw, Drawing
from nas_core.types import Objective, Proposal, Status, Trial


class RegularizedEvolution(Drawing):
    """Evolution that lets the oldest die, not the worst (Real et al. 2019, algorithm 1).

    The first `population` architectures are random. Then each proposal is a mutation of the best of `sample` trials,
    drawn with replacement from the `population` that finished last; best is by constrained domination, ties by the
    objectives in order. Only ok trials join the population; others are replaced while it is being filled, and
    pending ones count as if they will be ok. Trials of an earlier cycle are its oldest members.
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
        full = [trial for trial in history if trial.fidelity == 1.0]
        pending = sum(trial.status is Status.PENDING for trial in full)
        finished = sorted((trial for trial in full if trial.status is Status.OK), key=_age)
        missing = self._population - len(finished) - pending
        population = finished[-self._population :]

        def draw(made: int) -> Proposal:
            if made < missing or not population or not self._mutable:
                return Proposal(architecture=algebra.sample(self._space, rng), why=(("drawn", "at random"),))
            return self._child(population, rng)

        return draw

    def _child(self, population: Sequence[Trial], rng: np.random.Generator) -> Proposal:
        rivals = [population[i] for i in rng.integers(len(population), size=self._sample)]
        parent = min(rivals, key=lambda trial: key(trial.metrics or {}, self._objectives))
        architecture, mutation = algebra.mutate(self._space, parent.architecture, rng)
        why: list[tuple[str, float | str]] = [("mutation", mutation), ("tournament", float(self._sample))]
        why += [(f"parent.{o.metric}", value(parent.metrics or {}, o)) for o in self._objectives]
        return Proposal(architecture=architecture, parents=(parent.number,), why=tuple(why))


def _age(trial: Trial) -> tuple[int, int]:
    """Return the order of completion; what an earlier cycle finished came before all of this one."""
    return (-1 if trial.finished is None or trial.origin else trial.finished, trial.number)
