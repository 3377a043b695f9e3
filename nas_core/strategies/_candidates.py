"""The architectures that a model-based strategy chooses from: all of them, or a pool where there are too many."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from nas_core import space as algebra
from nas_core.interfaces import SearchSpace
from nas_core.strategies._architecture_features import Encoder, Options, activity, as_options
from nas_core.strategies._gaussian_process import Array
from nas_core.types import Architecture

WHOLE = 50_000
"""The largest number of architectures that are all looked at each time."""

_RANDOM = 400
_MUTANTS = 30
"""A pool holds this many random architectures, and this many mutants per parent with one and with two edits."""


class Candidates:
    """M architectures as options (M, decisions) and codes (M, C + L); those that are `left` may be proposed."""

    def __init__(
        self, options: Options, codes: Array, identities: NDArray[np.intp], seen: Collection[int] = ()
    ) -> None:
        self.options = options
        self.codes = codes
        self._identities = identities
        self._available = ~np.isin(identities, list(seen))

    @property
    def left(self) -> NDArray[np.intp]:
        """The rows that may be proposed, (at most M,)."""
        return np.flatnonzero(self._available)

    def take(self, row: int) -> Architecture:
        """Return the architecture of `row`, which with its twins may not be proposed again."""
        self._available &= self._identities != self._identities[row]
        return tuple(self.options[row].tolist())


class Population:
    """A space's architectures as candidates, and the encoder that they are coded by; `decisions` is how many it has."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._counts = np.array([len(decision.options) for decision in space.decisions])
        self.decisions = len(space.decisions)
        self.is_whole = algebra.size(space) <= WHOLE

    @cached_property
    def encoder(self) -> Encoder:
        """Scaled by all architectures, or else by a sample that is always the same."""
        return Encoder(self._space, self._members if self.is_whole else self._random(np.random.default_rng(0)))

    @cached_property
    def _members(self) -> Options:
        return as_options(list(algebra.architectures(self._space)), self.decisions)

    @cached_property
    def _numbers(self) -> tuple[dict[Architecture, int], NDArray[np.intp]]:
        """A number per canonical form, and the number of each member."""
        numbers: dict[Architecture, int] = {}
        canonical = (algebra.canonical(self._space, tuple(row)) for row in self._members.tolist())
        identities = [numbers.setdefault(form, len(numbers)) for form in canonical]
        return numbers, np.array(identities, dtype=np.intp)

    def candidates(
        self, seen: Collection[Architecture], parents: Sequence[Architecture], rng: np.random.Generator
    ) -> Candidates:
        """Return all architectures without the twins of those `seen`, which are in canonical form; or else a pool.

        The pool is made of `parents`' mutants and of random architectures; twins of those seen may be among them.
        """
        if self.is_whole:
            numbers, identities = self._numbers
            return Candidates(self._members, self.encoder.reference, identities, {numbers[form] for form in seen})
        pool = np.unique(self._pool(parents, rng), axis=0)
        options = pool[[tuple(row) not in seen and self._admits(tuple(row)) for row in pool.tolist()]]
        return Candidates(options, self.encoder(options), np.arange(len(options)))

    def _admits(self, architecture: Architecture) -> bool:
        return algebra.admits(self._space, architecture)

    def _pool(self, parents: Sequence[Architecture], rng: np.random.Generator) -> Options:
        given = np.repeat(as_options(parents, self.decisions), _MUTANTS, axis=0)
        once = self._mutants(given, rng)
        twice = self._mutants(self._mutants(given, rng), rng)
        return np.concatenate([once, twice, self._random(rng)])

    def _random(self, rng: np.random.Generator) -> Options:
        """Return a sample as `space.sample` draws it."""
        if hasattr(self._space, "admits"):
            return as_options([algebra.sample(self._space, rng) for _ in range(_RANDOM)], self.decisions)
        return self._grounded(rng.integers(self._counts, size=(_RANDOM, self.decisions)))

    def _mutants(self, parents: Options, rng: np.random.Generator) -> Options:
        """Return a child of each parent as `space.mutate` makes it, if the space's limits admit it or not."""
        on = activity(self._space.decisions, parents)
        place = np.where(on & (self._counts > 1), rng.random(parents.shape), -1.0).argmax(axis=1)
        row = np.arange(len(parents))
        children = np.where(on, parents, rng.integers(self._counts, size=parents.shape))
        shift = 1 + rng.integers(np.maximum(self._counts[place] - 1, 1))
        children[row, place] = (parents[row, place] + shift) % self._counts[place]
        return self._grounded(children)

    def _grounded(self, options: Options) -> Options:
        return np.where(activity(self._space.decisions, options), options, 0)


def population(space: SearchSpace) -> Population:
    """Return the population of `space`; of the same object it is made once, since coding it can take a second."""
    return _population(_Same(space))


class _Same:
    """Stands for a space in a cache: equal only to itself, whatever the space's own equality and hash."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.space is self.space

    def __hash__(self) -> int:
        return id(self.space)


@lru_cache(maxsize=8)
def _population(same: _Same) -> Population:
    return Population(same.space)
