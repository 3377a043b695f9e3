from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.types import Architecture, Decision


@dataclass(frozen=True)
class Space:
    decisions: tuple[Decision, ...]

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


DEPTH = Decision(name="depth", options=("1", "2", "3"), attributes=((1.0,), (2.0,), (3.0,)))
WIDTHS = tuple(
    Decision(name=f"width_{i}", options=("16", "32"), active_if=((0, frozenset(range(i, 3))),)) for i in range(3)
)
NORM = Decision(name="norm", options=("none", "batch"))
CHAIN = Space((DEPTH, *WIDTHS, NORM))  # (2 + 4 + 8) * 2 architectures


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    decisions: list[Decision] = []
    for index in range(draw(st.integers(1, 5))):
        options = tuple("abc"[: draw(st.integers(1, 3))])
        earlier = draw(st.sets(st.integers(0, index - 1), max_size=2)) if index else set()
        active_if = tuple(
            (e, draw(st.frozensets(st.integers(0, len(decisions[e].options) - 1), min_size=1))) for e in sorted(earlier)
        )
        decisions.append(Decision(name=f"d{index}", options=options, active_if=active_if))
    return Space(tuple(decisions))


seeds = st.integers(0, 2**32)


def drawn(space: Space, seed: int) -> tuple[Architecture, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return algebra.sample(space, rng), rng


def all_by_brute_force(space: Space) -> set[Architecture]:
    return {algebra.canonical(space, a) for a in product(*(range(len(d.options)) for d in space.decisions))}


def edits(space: Space, a: Architecture, b: Architecture) -> list[int]:
    """The decisions that are active in both and differ."""
    both = zip(a, b, algebra.active(space, a), algebra.active(space, b), strict=True)
    return [i for i, (x, y, in_a, in_b) in enumerate(both) if in_a and in_b and x != y]


# ---------------------------------------------------------------- validity


@given(spaces())
def test_valid_is_what_is_enumerated_and_nothing_else(space: Space) -> None:
    valid = set()
    for architecture in product(*(range(len(d.options)) for d in space.decisions)):
        try:
            algebra.validate(space, architecture)
        except InputError:
            continue
        valid.add(architecture)
    assert valid == set(algebra.architectures(space)) == all_by_brute_force(space)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ((0, 0, 0, 0), "must have one option per decision, 5 in all, got 4"),
        ((3, 0, 0, 0, 0), r"architecture.depth: must be an int from 0 to 2 \(one of 1, 2, 3\), got 3"),
        ((-1, 0, 0, 0, 0), "architecture.depth: .* got -1"),
        ((0, 0, 0, 0, True), "architecture.norm: must be an int .* got True"),
        ((0, 0, 0, 0, np.int64(1)), "architecture.norm: must be an int"),
        ((0, 0, 1, 0, 0), "architecture.width_1: must be 0 because an earlier choice makes it inactive, got 1"),
    ],
)
def test_an_invalid_architecture_is_refused_by_decision_value_and_rule(architecture: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        algebra.validate(CHAIN, architecture)


def test_a_decision_is_active_only_if_those_that_it_depends_on_are() -> None:
    a = Decision(name="a", options=("x", "y"))
    b = Decision(name="b", options=("x", "y"), active_if=((0, frozenset({1})),))
    c = Decision(name="c", options=("x", "y"), active_if=((1, frozenset({0})),))
    assert algebra.active(Space((a, b, c)), (0, 0, 0)) == (True, False, False)


# ---------------------------------------------------------------- size and enumeration


@given(spaces())
def test_size_counts_what_is_enumerated(space: Space) -> None:
    every = list(algebra.architectures(space))
    assert algebra.size(space) == len(every) == len(set(every))


def test_size_of_many_independent_decisions_is_their_product() -> None:
    decisions = tuple(Decision(name=f"edge_{i}", options=tuple("abcde")) for i in range(200))
    assert algebra.size(Space(decisions)) == 5**200


def test_size_of_a_long_chain_of_conditions() -> None:
    first = Decision(name="d0", options=("stop", "go"))
    later = (replace(first, name=f"d{i}", active_if=((i - 1, frozenset({1})),)) for i in range(1, 100))
    assert algebra.size(Space((first, *later))) == 101


def test_size_of_many_gates_is_quick() -> None:
    """What was ruled out is forgotten once it has been passed, or there would be 2 ** 100 prefixes to count."""
    gates = (
        (
            Decision(name=f"gate_{i}", options=("off", "on")),
            Decision(name=f"behind_{i}", options=("a", "b"), active_if=((2 * i, frozenset({1})),)),
        )
        for i in range(100)
    )
    assert algebra.size(Space(tuple(chain(*gates)))) == 3**100


@given(spaces(), seeds)
def test_a_shuffled_enumeration_has_the_same_members(space: Space, seed: int) -> None:
    shuffled = list(algebra.architectures(space, np.random.default_rng(seed)))
    assert sorted(shuffled) == list(algebra.architectures(space))


def test_enumeration_is_lazy_and_its_order_random_if_asked() -> None:
    space = Space(tuple(Decision(name=f"edge_{i}", options=tuple("abcde")) for i in range(50)))
    firsts = {next(algebra.architectures(space, np.random.default_rng(seed))) for seed in range(5)}
    assert next(algebra.architectures(space)) == (0,) * 50
    assert len(firsts) == 5


# ---------------------------------------------------------------- sampling


@given(spaces(), seeds)
def test_samples_are_valid(space: Space, seed: int) -> None:
    algebra.validate(space, drawn(space, seed)[0])


def test_each_option_of_an_active_decision_is_equally_likely() -> None:
    rng = np.random.default_rng(0)
    depths = np.bincount([algebra.sample(CHAIN, rng)[0] for _ in range(3000)])
    assert np.all(np.abs(depths - 1000) < 5 * np.sqrt(3000 * 1 / 3 * 2 / 3))  # 5 sigma: alpha < 1e-5


# ---------------------------------------------------------------- edits


@given(spaces(), seeds)
def test_a_mutation_edits_one_active_decision_and_is_a_neighbour(space: Space, seed: int) -> None:
    parent, rng = drawn(space, seed)
    if algebra.size(space) == 1:
        return
    child, mutation = algebra.mutate(space, parent, rng)
    algebra.validate(space, child)
    (place,) = edits(space, parent, child)
    options = space.decisions[place].options
    assert mutation == f"d{place}: {options[parent[place]]} -> {options[child[place]]}"
    assert child in set(algebra.neighbours(space, parent))


def test_mutation_reaches_every_neighbour() -> None:
    rng = np.random.default_rng(0)
    parent = (0, 1, 0, 0, 0)
    children = {algebra.mutate(CHAIN, parent, rng)[0] for _ in range(500)}
    assert children == set(algebra.neighbours(CHAIN, parent))


def test_mutation_samples_what_it_switches_on_and_keeps_the_rest() -> None:
    rng = np.random.default_rng(0)
    children = [algebra.mutate(CHAIN, (0, 1, 0, 0, 1), rng)[0] for _ in range(300)]
    assert {child[1:] for child in children if child[0] == 1} == {(1, 0, 0, 1), (1, 1, 0, 1)}


@given(spaces())
def test_mutation_fails_exactly_where_there_is_one_architecture(space: Space) -> None:
    first = next(algebra.architectures(space))
    if algebra.size(space) == 1:
        with pytest.raises(InputError, match="the space holds one architecture only"):
            algebra.mutate(space, first, np.random.default_rng(0))
    else:
        algebra.mutate(space, first, np.random.default_rng(0))


@given(spaces(), seeds)
def test_neighbours_are_all_that_are_one_edit_away(space: Space, seed: int) -> None:
    architecture, _ = drawn(space, seed)
    found = list(algebra.neighbours(space, architecture))
    assert len(found) == len(set(found))
    every = algebra.architectures(space)
    assert set(found) == {other for other in every if len(edits(space, architecture, other)) == 1}


def test_neighbours_are_lazy() -> None:
    gate = Decision(name="gate", options=("off", "on"))
    behind = tuple(
        Decision(name=f"edge_{i}", options=tuple("abcde"), active_if=((0, frozenset({1})),)) for i in range(40)
    )
    space = Space((gate, *behind))
    assert next(algebra.neighbours(space, (0,) * 41)) == (1, *(0,) * 40)


@given(spaces(), seeds)
def test_a_child_of_two_is_valid_and_takes_what_either_has(space: Space, seed: int) -> None:
    a, rng = drawn(space, seed)
    b = algebra.sample(space, rng)
    child = algebra.crossover(space, a, b, rng)
    algebra.validate(space, child)
    on = zip(algebra.active(space, child), algebra.active(space, a), algebra.active(space, b), strict=True)
    for i, (in_child, in_a, in_b) in enumerate(on):
        inherited = {p[i] for p, is_on in ((a, in_a), (b, in_b)) if is_on}
        assert not in_child or not inherited or child[i] in inherited


@given(spaces(), seeds)
def test_a_child_of_one_parent_twice_is_that_parent(space: Space, seed: int) -> None:
    parent, rng = drawn(space, seed)
    assert algebra.crossover(space, parent, parent, rng) == parent


def test_crossover_takes_from_both_parents() -> None:
    rng = np.random.default_rng(0)
    children = {algebra.crossover(CHAIN, (2, 0, 0, 0, 0), (2, 1, 1, 1, 1), rng) for _ in range(400)}
    assert children == {(2, *rest) for rest in product(range(2), repeat=4)}


# ---------------------------------------------------------------- identity


@given(spaces(), st.data())
def test_inactive_options_make_no_difference(space: Space, data: st.DataObject) -> None:
    raw = tuple(data.draw(st.integers(0, len(d.options) - 1)) for d in space.decisions)
    plain = algebra.canonical(space, raw)
    algebra.validate(space, plain)
    assert algebra.canonical(space, plain) == plain
    assert algebra.canonical_id(space, plain) == algebra.canonical_id(space, raw)


@given(spaces())
def test_ids_tell_architectures_apart(space: Space) -> None:
    assert len({algebra.canonical_id(space, a) for a in algebra.architectures(space)}) == algebra.size(space)


def test_ids_and_digests_never_change() -> None:
    """They are on record: a change here orphans every study that was ever run."""
    assert algebra.canonical_id(CHAIN, (1, 1, 0, 0, 1)) == "c1b85745e9621db4"
    assert algebra.digest(CHAIN) == "7d2b853bab6c73d22f729665eaff55e2677e49fe614e099ba82fe86f1c193901"


@pytest.mark.parametrize(
    "other",
    [
        replace(NORM, name="normalisation"),
        replace(NORM, options=("none", "layer")),
        replace(NORM, attributes=((0.0,), (1.0,))),
        replace(NORM, active_if=((0, frozenset({1})),)),
    ],
)
def test_the_digest_sees_every_part_of_a_decision(other: Decision) -> None:
    assert algebra.digest(Space((DEPTH, *WIDTHS, other))) != algebra.digest(CHAIN)


def test_the_digest_of_unsound_decisions_is_refused() -> None:
    with pytest.raises(InputError, match="must be unique"):
        algebra.digest(Space((DEPTH, DEPTH)))


def test_a_space_that_knows_its_twins_decides_what_is_canonical() -> None:
    @dataclass(frozen=True)
    class Symmetric(Space):
        def canonical(self, architecture: Architecture) -> Architecture:
            return tuple(sorted(architecture))

    space = Symmetric((NORM, replace(NORM, name="other")))
    assert algebra.canonical(space, (1, 0)) == (0, 1)
    assert algebra.canonical_id(space, (1, 0)) == algebra.canonical_id(space, (0, 1))


# ---------------------------------------------------------------- other forms


@given(spaces(), seeds)
def test_decode_is_the_inverse_of_encode(space: Space, seed: int) -> None:
    architecture, _ = drawn(space, seed)
    assert algebra.decode(space, algebra.encode(space, architecture)) == architecture


def test_the_layout_of_an_encoding() -> None:
    blocks = {"depth": [0, 1, 0], "width_0": [0, 1], "width_1": [1, 0], "width_2 is inactive": [0, 0], "norm": [0, 1]}
    assert algebra.encode(CHAIN, (1, 1, 0, 0, 1)).tolist() == list(chain(*blocks.values()))


@given(spaces(), st.data())
def test_any_vector_decodes_to_a_valid_architecture(space: Space, data: st.DataObject) -> None:
    length = sum(len(d.options) for d in space.decisions)
    vector = data.draw(st.lists(st.floats(-1, 1), min_size=length, max_size=length))
    algebra.validate(space, algebra.decode(space, np.array(vector)))


def test_a_vector_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(InputError, match=r"must have shape \(11,\), got \(10,\)"):
        algebra.decode(CHAIN, np.zeros(10))


def test_a_description_names_the_options_of_active_decisions() -> None:
    assert algebra.describe(CHAIN, (1, 1, 0, 0, 1)) == {"depth": "2", "width_0": "32", "width_1": "16", "norm": "batch"}


# ---------------------------------------------------------------- limits


class Limited:
    """Three decisions whose options cost as much as their indices, together at most `most`."""

    def __init__(self, most: int) -> None:
        self.decisions = tuple(Decision(name=name, options=tuple("0123456789")) for name in "abc")
        self._most = most

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError

    def admits(self, architecture: Architecture) -> bool:
        return sum(architecture) <= self._most


@given(st.integers(0, 27), st.integers(0, 2**32))
def test_what_is_drawn_keeps_the_limits(most: int, seed: int) -> None:
    space, rng = Limited(most), np.random.default_rng(seed)
    a, b = algebra.sample(space, rng), algebra.sample(space, rng)
    children = [algebra.mutate(space, a, rng)[0], algebra.crossover(space, a, b, rng)]
    assert all(space.admits(each) for each in (a, b, *children))


@pytest.mark.parametrize("rng", [None, np.random.default_rng(0)])
def test_all_that_keep_the_limits_are_listed_once(rng: np.random.Generator | None) -> None:
    listed = list(algebra.architectures(Limited(4), rng))
    assert sorted(listed) == [a for a in product(range(10), repeat=3) if sum(a) <= 4]


def test_a_walk_gives_up_a_prefix_as_soon_as_it_is_beyond_the_limits() -> None:
    """Ten to the thirtieth architectures, of which 31 keep the limit."""
    space = Limited(1)
    space.decisions = tuple(Decision(name=f"d{i}", options=tuple("0123456789")) for i in range(30))
    assert len(list(algebra.architectures(space, np.random.default_rng(0)))) == 31


def test_neighbours_keep_the_limits() -> None:
    assert sorted(algebra.neighbours(Limited(2), (1, 1, 0))) == [(0, 1, 0), (1, 0, 0)]


def test_an_architecture_beyond_the_limits_is_not_valid() -> None:
    algebra.validate(Limited(3), (1, 1, 1))
    with pytest.raises(InputError, match=r"^architecture: \(2, 1, 1\) is beyond the limits"):
        algebra.validate(Limited(3), (2, 1, 1))
