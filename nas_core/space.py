"""The algebra of search spaces, written once over their decisions.

Decisions are walked in order: one is active if all its `active_if` hold, which only look back. So whatever picks an
option per active decision makes a valid architecture, and sampling, mutation, crossover and decoding differ only in
how they pick.

A `Bounded` space admits only some of its architectures. Option 0 is its least demanding, so a prefix that is not
admitted with 0 behind it can be given up at once: walks through such a space are cut off early, and always end.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nas_core.decisions import check_decisions
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace
from nas_core.types import Architecture, Decision

_TRIES = 64
"""How many children in a row may be beyond the limits of a space, before one is sampled."""


def validate(space: SearchSpace, architecture: Architecture) -> None:
    """Raise InputError unless `architecture` has one option index per decision, and 0 where a decision is inactive."""
    decisions = space.decisions
    if len(architecture) != len(decisions):
        raise InputError(
            f"architecture: must have one option per decision, {len(decisions)} in all, got {len(architecture)}"
        )
    for decision, value in zip(decisions, architecture, strict=True):
        if type(value) is not int or not 0 <= value < len(decision.options):
            raise InputError(
                f"architecture.{decision.name}: must be an int from 0 to {len(decision.options) - 1} "
                f"(one of {', '.join(decision.options)}), got {value!r}"
            )
    for decision, value, on in zip(decisions, architecture, active(space, architecture), strict=True):
        if value and not on:
            raise InputError(
                f"architecture.{decision.name}: must be 0 because an earlier choice makes it inactive, got {value}"
            )
    if not admits(space, architecture):
        raise InputError(f"architecture: {tuple(architecture)} is beyond the limits of its space; choose a smaller one")


def admits(space: SearchSpace, architecture: Architecture) -> bool:
    """Tell whether `architecture`, which is sound, keeps the limits of its space; without limits, any does."""
    own: Callable[[Architecture], bool] | None = getattr(space, "admits", None)
    return own is None or own(architecture)


# ---------------------------------------------------------------- walking the decisions


def _holds(decision: Decision, values: Sequence[int], on: Sequence[bool]) -> bool:
    # Most decisions have no condition; asking that first is what keeps a walk quick.
    return not decision.active_if or all(on[e] and values[e] in allowed for e, allowed in decision.active_if)


def _walk(decisions: Sequence[Decision], pick: Callable[[int], int]) -> Architecture:
    """Return the architecture with option `pick(i)` for every active decision i."""
    values: list[int] = []
    on: list[bool] = []
    for index, decision in enumerate(decisions):
        on.append(_holds(decision, values, on))
        values.append(pick(index) if on[-1] else 0)
    return tuple(values)


def active(space: SearchSpace, architecture: Architecture) -> tuple[bool, ...]:
    """Tell for every decision whether it has an effect in `architecture`."""
    on: list[bool] = []
    for decision in space.decisions:
        on.append(_holds(decision, architecture, on))
    return tuple(on)


def sample(space: SearchSpace, rng: np.random.Generator) -> Architecture:
    """Draw decision by decision: each active one takes each of its options with equal probability.

    This is not uniform over architectures: of a chain's depths each is equally likely, though the deep ones are many.
    If what is drawn is not admitted, the first that is on a random walk through the space is taken.
    """
    decisions = space.decisions
    drawn = _walk(decisions, lambda i: int(rng.integers(len(decisions[i].options))))
    return drawn if admits(space, drawn) else next(architectures(space, rng))


def mutate(space: SearchSpace, architecture: Architecture, rng: np.random.Generator) -> tuple[Architecture, str]:
    """Give one active decision another option, both drawn uniformly; return the child and `decision: old -> new`.

    Decisions that this switches on are sampled, those that it switches off become 0, all others stay. Where limits
    admit no child of many, one is sampled. InputError if no active decision has a second option: then the space holds
    no other architecture.
    """
    decisions = space.decisions
    was = active(space, architecture)
    mutable = [i for i, decision in enumerate(decisions) if was[i] and len(decision.options) > 1]
    if not mutable:
        raise InputError("mutate: the space holds one architecture only; offer a second option somewhere")
    for _ in range(_TRIES):
        place = mutable[rng.integers(len(mutable))]
        options = decisions[place].options
        old = architecture[place]
        new = (old + 1 + int(rng.integers(len(options) - 1))) % len(options)

        def pick(i: int, place: int = place, new: int = new) -> int:
            if i == place:
                return new
            return architecture[i] if was[i] else int(rng.integers(len(decisions[i].options)))

        child = _walk(decisions, pick)
        if admits(space, child):
            return child, f"{decisions[place].name}: {options[old]} -> {options[new]}"
    return sample(space, rng), "sampled: the limits admit no mutation"


def crossover(space: SearchSpace, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
    """Return a child that takes each of its active decisions from either parent in which it is active.

    A fair coin decides between two such parents (uniform crossover); where there is none, the decision is sampled.
    Where limits admit no child of many, one is sampled.
    """
    decisions = space.decisions
    parents = [(a, active(space, a)), (b, active(space, b))]

    def pick(i: int) -> int:
        values = [parent[i] for parent, on in parents if on[i]] or range(len(decisions[i].options))
        return values[rng.integers(len(values))]

    children = (_walk(decisions, pick) for _ in range(_TRIES))
    return next((child for child in children if admits(space, child)), None) or sample(space, rng)


# ---------------------------------------------------------------- enumeration


def _expand(space: SearchSpace, options: Callable[[int], Sequence[int]]) -> Iterator[Architecture]:
    """Yield every admitted architecture whose active decisions i take one of `options(i)`, depth first, none twice."""
    decisions = space.decisions
    own: Callable[[Architecture], bool] | None = getattr(space, "admits", None)
    stack: list[tuple[Architecture, tuple[bool, ...]]] = [((), ())]
    while stack:
        values, on = stack.pop()
        index = len(values)
        if own is not None and not own(values + (0,) * (len(decisions) - index)):
            continue
        if index == len(decisions):
            yield values
            continue
        is_on = _holds(decisions[index], values, on)
        stack.extend(((*values, value), (*on, is_on)) for value in reversed(options(index) if is_on else (0,)))


def architectures(space: SearchSpace, rng: np.random.Generator | None = None) -> Iterator[Architecture]:
    """Yield all admitted architectures, lazily: in lexicographic order, or in a depth-first order drawn by `rng`."""
    counts = [len(decision.options) for decision in space.decisions]
    if rng is None:
        return _expand(space, lambda i: range(counts[i]))
    return _expand(space, lambda i: rng.permutation(counts[i]).tolist())


def neighbours(space: SearchSpace, architecture: Architecture) -> Iterator[Architecture]:
    """Yield, lazily, all that `mutate` can make of `architecture`, none twice.

    If an edit switches decisions on, every choice of their options is a neighbour. So the relation is symmetric; where
    one decision switches on many others, take what you need of the iterator.
    """
    decisions = space.decisions
    was = active(space, architecture)

    def edit(place: int, new: int) -> Iterator[Architecture]:
        def options(i: int) -> Sequence[int]:
            if i == place:
                return (new,)
            return (architecture[i],) if was[i] else range(len(decisions[i].options))

        return _expand(space, options)

    for place, decision in enumerate(decisions):
        for new in range(len(decision.options)) if was[place] else ():
            if new != architecture[place]:
                yield from edit(place, new)


def size(space: SearchSpace) -> int:
    """Return exactly how many architectures there are; inactive decisions make no difference.

    Twins that only a `Structured` space knows of are counted apart, and those beyond a `Bounded` space's limits too.
    InputError for unsound decisions. All that later decisions can see of a prefix is which of them it rules out, so
    prefixes are counted by that set alone.
    """
    decisions = space.decisions
    check_decisions(decisions)
    dependants: list[list[tuple[int, frozenset[int]]]] = [[] for _ in decisions]
    for index, decision in enumerate(decisions):
        for earlier, allowed in decision.active_if:
            dependants[earlier].append((index, allowed))
    prefixes: Counter[frozenset[int]] = Counter({frozenset(): 1})
    for index, decision in enumerate(decisions):
        longer: Counter[frozenset[int]] = Counter()
        for ruled_out, count in prefixes.items():
            for option in (None,) if index in ruled_out else range(len(decision.options)):
                lost = {later for later, allowed in dependants[index] if option not in allowed}
                longer[(ruled_out | lost) - {index}] += count
        prefixes = longer
    return prefixes.total()


# ---------------------------------------------------------------- identity


def canonical(space: SearchSpace, architecture: Architecture) -> Architecture:
    """Return the representative of all twins of `architecture`: inactive decisions 0, then the space's own rule."""
    plain = _walk(space.decisions, architecture.__getitem__)
    # Not isinstance(space, Structured): a protocol check takes longer than all the rest, and this runs once a trial.
    own: Callable[[Architecture], Architecture] | None = getattr(space, "canonical", None)
    return own(plain) if own else plain


def canonical_id(space: SearchSpace, architecture: Architecture) -> str:
    """Return 16 hex digits that depend on the decisions' names and options and on the canonical form alone."""
    names = [[decision.name, decision.options] for decision in space.decisions]
    return _sha256([names, canonical(space, architecture)])[:16]


def digest(space: SearchSpace) -> str:
    """Return the SHA-256, in hex, of the decisions with attributes and conditions; InputError for unsound ones."""
    check_decisions(space.decisions)
    return _sha256(
        [
            [d.name, d.options, d.attributes, [[earlier, sorted(allowed)] for earlier, allowed in d.active_if]]
            for d in space.decisions
        ]
    )


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()


# ---------------------------------------------------------------- other forms


def describe(space: SearchSpace, architecture: Architecture) -> dict[str, str]:
    """Return decision name -> option of the active decisions, in order."""
    on = active(space, architecture)
    return {d.name: d.options[v] for d, v, is_on in zip(space.decisions, architecture, on, strict=True) if is_on}


def encode(space: SearchSpace, architecture: Architecture) -> NDArray[np.float64]:
    """Return the one-hot vector of `architecture`, shape (sum of all option counts,).

    Decisions are blocks in order, a place per option; an inactive decision's block is all zero.
    """
    blocks = [np.zeros(len(decision.options)) for decision in space.decisions]
    for block, value, on in zip(blocks, architecture, active(space, architecture), strict=True):
        block[value] = on
    return np.concatenate(blocks) if blocks else np.zeros(0)


def decode(space: SearchSpace, vector: NDArray[np.float64]) -> Architecture:
    """Return the architecture whose active decisions take the largest entry of their block of `vector`.

    The inverse of `encode`. InputError if the length is wrong.
    """
    decisions = space.decisions
    ends = np.cumsum([len(decision.options) for decision in decisions], dtype=int)
    length = int(ends[-1]) if decisions else 0
    if vector.shape != (length,):
        raise InputError(f"decode: the vector must have shape ({length},), got {vector.shape}")
    blocks = np.split(vector, ends[:-1])
    return _walk(decisions, lambda i: int(np.argmax(blocks[i])))
