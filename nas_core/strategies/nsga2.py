"""NSGA-II (Deb et al. 2002, "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace
from nas_core.objectives import Key, key, value
from nas_core.strategies._drawing import Draw, Drawing
from nas_core.strategies._finished import finished
from nas_core.types import Objective, Proposal, Status, Trial

Array = NDArray[np.float64]


class NSGA2(Drawing):
    """NSGA-II: a genetic algorithm that keeps a front of several objectives, within limits (Deb et al. 2002).

    The first `population` architectures are random. Then each proposal is a child of the winners of two binary
    tournaments: with probability `crossover` it takes each decision from either, else all from the first; after that
    each of its active decisions mutates with a probability of one over their number. Better is by constrained
    domination, and of equals the one that is less crowded.

    A generation is `population` ok trials, in the order in which they finished; the best of it and of the parents are
    the parents of the next. The newest trials compete with the parents before their generation is complete, so that no
    worker waits. Failed trials are replaced while the first population is filled; pending ones count as if they will be
    ok. Trials of an earlier cycle are no parents, but the best of them, tried anew, are half of the first population.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        seed: int,
        *,
        population: int = 20,
        crossover: float = 0.9,
    ) -> None:
        super().__init__(space, objectives, seed)
        if population < 2:
            raise InputError(f"population: must be >= 2, got {population}")
        if not 0 <= crossover <= 1:
            raise InputError(f"crossover: must be a probability from 0 to 1, got {crossover:g}")
        self._population = population
        self._order = partial(crowded_order, count=population)
        self._full_order = cache(self._order)
        self._crossover = crossover
        self._mutable = len(list(islice(algebra.architectures(space), 2))) == 2

    def _drawing(self, history: Sequence[Trial], rng: np.random.Generator) -> Draw:
        pending = sum(trial.status is Status.PENDING and trial.fidelity == 1.0 for trial in history)
        done = [trial for trial in finished(history) if not trial.origin]
        missing = self._population - len(done) - pending
        starts = self._starts(history, rng)
        parents = self._survivors(done)

        def draw(made: int) -> Proposal:
            return next(starts) if made < missing or not parents or not self._mutable else self._child(parents, rng)

        return draw

    def _starts(self, history: Sequence[Trial], rng: np.random.Generator) -> Iterator[Proposal]:
        known = {self._canonical(trial.architecture) for trial in history if not trial.origin}
        earlier = [trial for trial in finished(history) if trial.origin]
        for trial in self._survivors(earlier)[: self._population // 2]:
            if self._canonical(trial.architecture) not in known:
                yield Proposal(architecture=trial.architecture, why=(("drawn", f"as {trial.origin}"),))
        while True:
            yield Proposal(architecture=algebra.sample(self._space, rng), why=(("drawn", "at random"),))

    def _survivors(self, done: Sequence[Trial]) -> list[Trial]:
        """Return who is left after the generations that `done` makes, the best first."""
        keys = [key(trial.metrics or {}, self._objectives) for trial in done]
        alive: list[int] = []
        for start in range(0, len(done), self._population):
            rivals = [*alive, *range(len(done))[start : start + self._population]]
            # A generation that is complete is met again at every later call.
            order = self._full_order if start + self._population <= len(done) else self._order
            alive = [rivals[i] for i in order(tuple(keys[rival] for rival in rivals))]
        return [done[i] for i in alive]

    def _child(self, parents: Sequence[Trial], rng: np.random.Generator) -> Proposal:
        # Parents are ordered, so the winner of a tournament of two is who comes first.
        first, second = (parents[int(rng.integers(len(parents), size=2).min())] for _ in range(2))
        child, mates = first.architecture, {first.number}
        if rng.random() < self._crossover:
            child = algebra.crossover(self._space, child, second.architecture, rng)
            mates.add(second.number)
        places = sum(algebra.active(self._space, child))
        edits = []
        for _ in range(rng.binomial(places, 1 / places)):
            child, edit = algebra.mutate(self._space, child, rng)
            edits.append(edit)
        why: list[tuple[str, float | str]] = [
            ("crossover", "uniform" if len(mates) > 1 else "none"),
            ("mutation", "; ".join(edits) or "none"),
            *((f"parent.{o.metric}", value(first.metrics or {}, o)) for o in self._objectives),
        ]
        return Proposal(architecture=child, parents=(first.number, *mates - {first.number}), why=tuple(why))


def crowded_order(keys: Sequence[Key], count: int) -> list[int]:
    """Return the indices of the best `count` of `keys`, best first, by the crowded-comparison operator.

    That is, a lower front is better, and within a front what is less crowded; equals stay in order (Deb et al. 2002,
    section III-B).
    """
    rows = np.array(keys)
    order: list[int] = []
    for front in fronts(rows):
        if len(order) >= count:
            break
        order += front[np.argsort(-crowding(rows[front, 1:]), kind="stable")].tolist()
    return order[:count]


def fronts(keys: Array) -> Iterator[NDArray[np.intp]]:
    """Yield the indices of one front of `keys` after the other, (violation, then a loss per objective) in each row.

    The first is what no other constraint-dominates, the next what only the first do, and so on. Who dominates whom is
    found once, in O(objectives * n²); each front then costs one sum (Deb et al. 2002, section III-A).
    """
    violation, losses = keys[:, 0], keys[:, 1:]
    kept = violation == 0
    no_worse = (losses[:, None] <= losses).all(axis=2)
    dominates = (violation[:, None] < violation) | (kept & kept[:, None] & no_worse & ~no_worse.T)
    dominators = dominates.sum(axis=0)
    while len(front := np.flatnonzero(dominators == 0)):
        yield front
        dominators -= dominates[front].sum(axis=0)
        dominators[front] = -1


def crowding(losses: Array) -> Array:
    """Return how far each row of `losses` is from its neighbours in a front, (n,): infinity for the ends.

    For each objective the distance between the two neighbours as a share of the front's range; shares add up (Deb et
    al. 2002, crowding-distance-assignment). An objective that does not vary adds nothing.
    """
    distance = np.zeros(len(losses))
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        span = ordered[-1] - ordered[0]
        if span > 0:
            distance[order[[0, -1]]] = np.inf
            distance[order[1:-1]] += (ordered[2:] - ordered[:-2]) / span
    return distance
