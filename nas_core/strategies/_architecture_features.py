"""Architectures as rows of numbers for a Gaussian process: decisions, attributes and features, whatever the space."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas_core.interfaces import SearchSpace
from nas_core.strategies._gaussian_process import Array, Columns
from nas_core.types import Architecture, Decision

Options = NDArray[np.intp]
"""Option indices of N architectures, (N, decisions)."""

_MISMATCH, _ATTRIBUTES, _FEATURES = range(3)


class _Block(NamedTuple):
    """Some columns of one decision: a row per option, then the row of the inactive decision.

    Blocks of one `part` and `name` share a relevance; `is_number` ones enter linearly besides.
    """

    decision: int
    part: int
    name: object
    is_number: bool
    table: Array


class Encoder:
    """Codes of a space's architectures, scaled by the spread of a sample of them; `reference` holds the codes of these.

    Two architectures differ in three parts. Each part is expected to make a squared distance of 1 between two that are
    drawn at random, however many columns it has, as long as all relevances are 1:

    - which decisions differ, each with a relevance of its own;
    - by how much the chosen options differ in their attributes. Attributes are replaced by their ranks: whoever lists
      16, 32, 64, 128 means equal steps. Decisions between the same options share the relevance of each attribute and
      of each option, so that what is learned of an operation in one place counts in all; only a lone number (a width,
      a rate) matters in each place by itself;
    - by how much the space's own features differ, each with a relevance of its own.

    Features and lone numbers enter linearly besides, with a total variance of 1: where more is better, few results
    tell so, and what is extreme is most worth knowing.
    """

    def __init__(self, space: SearchSpace, sample: Options) -> None:
        self._decisions = space.decisions
        self._features: Callable[[Architecture], Mapping[str, float]] | None = getattr(space, "features", None)
        self._blocks = list(_blocks(self._decisions))
        raw = self._raw(sample)
        keys = [(block.part, block.name) for block in self._blocks for _ in block.table.T]
        is_linear = [block.is_number for block in self._blocks for _ in block.table.T]
        features = range(raw.shape[1] - len(keys))
        keys += [(_FEATURES, feature) for feature in features]
        self._linear = np.flatnonzero([*is_linear, *(True for _ in features)])
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        self.columns = Columns(tuple(numbers[key] for key in keys), tuple(range(len(self._linear))))
        self._center = raw.mean(axis=0)
        self._scale = _scale(keys, raw.var(axis=0))
        self._linear_scale = 1 / np.sqrt(np.maximum(len(self._linear) * raw.var(axis=0)[self._linear], 1e-12))
        self.reference = self._scaled(raw)

    def __call__(self, options: Options) -> Array:
        """Return the codes (N, C + L) of architectures (N, decisions), as `columns` describes them."""
        return self._scaled(self._raw(options))

    def _scaled(self, raw: Array) -> Array:
        centred = raw - self._center
        return np.hstack([centred * self._scale, centred[:, self._linear] * self._linear_scale])

    def _raw(self, options: Options) -> Array:
        # Each table's last row is that of the inactive decision.
        rows = np.where(activity(self._decisions, options), options, -1)
        columns = [block.table[rows[:, block.decision]] for block in self._blocks]
        if self._features is not None:
            zero = (0,) * len(self._decisions)
            figures = [list(self._features(tuple(row)).values()) for row in (zero, *options.tolist())]
            columns.append(np.array(figures, dtype=float)[1:])
        return np.hstack(columns) if columns else np.zeros((len(options), 0))


def as_options(architectures: Sequence[Architecture], decisions: int) -> Options:
    """Return `architectures`, none or more of so many decisions, as an array."""
    return np.array(architectures, dtype=np.intp).reshape(len(architectures), decisions)


def activity(decisions: Sequence[Decision], options: Options) -> NDArray[np.bool_]:
    """Return which decisions are active, (N, decisions); what an inactive one holds is not looked at."""
    on = np.ones(options.shape, dtype=bool)
    for index, decision in enumerate(decisions):
        for earlier, allowed in decision.active_if:
            allows = np.array([option in allowed for option in range(len(decisions[earlier].options))])
            on[:, index] &= on[:, earlier] & allows[options[:, earlier]]
    return on


def _blocks(decisions: Sequence[Decision]) -> Iterator[_Block]:
    alike: dict[object, list[int]] = {}
    for index, decision in enumerate(decisions):
        if len(decision.options) > 1:
            alike.setdefault((decision.options, decision.attributes), []).append(index)
    for kind, places in enumerate(alike.values()):
        decision = decisions[places[0]]
        one_hot = np.eye(len(decision.options))
        ranks = [_ranks(column) for column in zip(*decision.attributes, strict=True)]
        is_number = len(ranks) == 1 and len(set(ranks[0])) == len(ranks[0])
        shared = ranks if is_number or len(places) == 1 else [*ranks, *one_hot]
        for place in places:
            # Half of the squares, so that two options are a distance of 1 apart.
            yield _Block(place, _MISMATCH, place, False, np.vstack([one_hot, 0 * one_hot[:1]]) * np.sqrt(0.5))
            for number, column in enumerate(shared):
                name = (place if is_number else -1, kind, number)
                yield _Block(place, _ATTRIBUTES, name, is_number, np.append(column, np.mean(column))[:, np.newaxis])


def _ranks(column: Sequence[float]) -> Array:
    """Return the place of each value among the distinct values, from 0 to 1."""
    distinct, place = np.unique(column, return_inverse=True)
    ranks: Array = place / max(len(distinct) - 1, 1)
    return ranks


def _scale(keys: Sequence[tuple[int, object]], variances: Array) -> Array:
    """Return a factor per column, so that each part's expected squared distance is 1.

    Decisions keep their proportions, so one of many options weighs more than one of two; within the other parts each
    relevance has an equal share. Columns that do not vary are 0.
    """
    distances: dict[tuple[int, object], float] = {}
    for key, variance in zip(keys, variances, strict=True):
        distances[key] = distances.get(key, 0.0) + 2 * variance
    varying = {key: distance for key, distance in distances.items() if distance > 1e-12}
    share: dict[tuple[int, object], float] = {}
    for part in (_MISMATCH, _ATTRIBUTES, _FEATURES):
        own = {key: distance for key, distance in varying.items() if key[0] == part}
        total = sum(own.values())
        share |= {key: total if part == _MISMATCH else len(own) * distance for key, distance in own.items()}
    return np.array([1 / np.sqrt(share[key]) if key in share else 0.0 for key in keys])
