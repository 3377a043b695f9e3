"""Local search with restarts (White et al. 2021, "Exploring the Loss Landscape in Neural Architecture Search")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, islice

import numpy as np

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace
from nas_core.objectives import key, value
from nas_core.strategies._drawing import TRIES, Draw, Drawing
from nas_core.strategies._finished import finished
from nas_core.types import Architecture, Objective, Proposal, Status, Trial

Climb = list[Trial]
"""Its starts, their neighbours, the neighbours of those ..., in the order of proposal."""

_COUNT = {Status.OK, Status.PENDING}
"""Starts that did not fail; pending ones count as if they will be ok."""


class LocalSearch(Drawing):
    """Local search with restarts: on to a better neighbour, again and again, until there is none (White et al. 2021).

    A climb stands at the best trial that it has seen, at first the best of `starts` random architectures. The
    neighbours of where it stands are tried in random order, and the first that is better is where it goes on. Where no
    untried one is left is a local optimum, and another climb begins. (To try all neighbours before each move takes
    twice as many evaluations to the optimum of NAS-Bench-201.)

    Better is by constrained domination, ties by the objectives in order. Only ok trials count; starts that failed are
    replaced. While the last neighbours are pending the next climb begins; if one of them is better, the old climb goes
    on first. Trials of an earlier cycle are where the first climb starts: the best of them are tried anew.
    """

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective], seed: int, *, starts: int = 10) -> None:
        super().__init__(space, objectives, seed)
        if starts < 1:
            raise InputError(f"starts: must be >= 1, got {starts}")
        self._starts = starts

    def _drawing(self, history: Sequence[Trial], rng: np.random.Generator) -> Draw:
        candidates = self._candidates(history, rng)
        return lambda _: next(candidates)

    def _candidates(self, history: Sequence[Trial], rng: np.random.Generator) -> Iterator[Proposal]:
        """Yield without end; none that is known, until nothing else is found."""
        own = [trial for trial in history if not trial.origin and trial.fidelity == 1.0]
        known = {self._canonical(trial.architecture) for trial in own}
        climbs = _climbs(own)
        starts = self._random(rng) if climbs[1:] else chain(self._earlier(history, known), self._random(rng))
        for climb in self._open(climbs):
            missing = 0 if _moves(climb) else self._starts - sum(trial.status in _COUNT for trial in climb)
            # Bounded, because in a space of which all is known no start is new.
            yield from islice(self._unknown(islice(starts, max(0, missing) * TRIES), known), max(0, missing))
            if (top := self._top(climb)) is not None:
                yield from self._unknown(self._neighbours(top, known, rng), known)
        yield from starts

    def _unknown(self, candidates: Iterable[Proposal], known: set[Architecture]) -> Iterator[Proposal]:
        for candidate in candidates:
            identity = self._canonical(candidate.architecture)
            if identity not in known:
                known.add(identity)
                yield candidate

    # ---------------------------------------------------------------- where climbs are

    def _open(self, climbs: Sequence[Climb]) -> Iterator[Climb]:
        """Yield the climbs that may go on: the newest, and before it the one that it followed, if that has moved since.

        A climb begins when those before it have no neighbours left to try. So one that has not tried any of where it
        stands now had not come there yet.
        """
        if climbs[1:]:
            older, newest = climbs[-2:]
            top = self._top(older)
            before = (trial for trial in older if trial.number < newest[0].number)
            if top is not None and all(trial.parents[:1] != (top.number,) for trial in before):
                yield older
        yield climbs[-1] if climbs else []

    def _top(self, climb: Climb) -> Trial | None:
        done = (trial for trial in climb if trial.status is Status.OK)
        return min(done, key=self._key, default=None)

    def _key(self, trial: Trial) -> tuple[float, ...]:
        return key(trial.metrics or {}, self._objectives)

    # ---------------------------------------------------------------- what can be tried

    def _random(self, rng: np.random.Generator) -> Iterator[Proposal]:
        return (Proposal(architecture=algebra.sample(self._space, rng), why=(("start", "at random"),)) for _ in count())

    def _earlier(self, history: Sequence[Trial], known: set[Architecture]) -> Iterator[Proposal]:
        """Yield the best of an earlier cycle, as many as a climb has starts, but for those that are `known` by now."""
        earlier = [trial for trial in finished(history) if trial.origin]
        for trial in sorted(earlier, key=self._key)[: self._starts]:
            if self._canonical(trial.architecture) not in known:
                yield Proposal(architecture=trial.architecture, why=(("start", f"as {trial.origin}"),))

    def _neighbours(self, top: Trial, known: set[Architecture], rng: np.random.Generator) -> Iterator[Proposal]:
        """Yield the neighbours of `top` that are not `known`: in random order, at last in that of the space."""
        reached: tuple[tuple[str, float | str], ...] = tuple(
            (f"parent.{o.metric}", value(top.metrics or {}, o)) for o in self._objectives
        )
        if next(algebra.neighbours(self._space, top.architecture), None) is None:
            return
        repeats = 0
        while repeats < TRIES:
            neighbour, mutation = algebra.mutate(self._space, top.architecture, rng)
            repeats = repeats + 1 if self._canonical(neighbour) in known else 0
            if not repeats:
                why = (("mutation", mutation), *reached)
                yield Proposal(architecture=neighbour, parents=(top.number,), why=why)
        why = (("mutation", f"left over: {TRIES} draws repeated known ones"), *reached)
        for neighbour in algebra.neighbours(self._space, top.architecture):
            if self._canonical(neighbour) not in known:
                yield Proposal(architecture=neighbour, parents=(top.number,), why=why)


def _climbs(own: Sequence[Trial]) -> list[Climb]:
    """Return the climbs in the order of their first trial.

    A trial with a parent is of its parent's climb. One without is a start: of the newest climb, or if that one moves
    already, of another.
    """
    climbs: list[Climb] = []
    of: dict[int, Climb] = {}
    for trial in own:
        climb = of.get(trial.parents[0]) if trial.parents else None
        if climb is None:
            if not climbs or _moves(climbs[-1]):
                climbs.append([])
            climb = climbs[-1]
        climb.append(trial)
        of[trial.number] = climb
    return climbs


def _moves(climb: Climb) -> bool:
    """Tell whether a neighbour was tried; after the first of them, all that joins a climb is one."""
    return bool(climb[-1:] and climb[-1].parents)
