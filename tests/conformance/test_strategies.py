"""Every registered strategy on every registered space: the laws of `Strategy.propose`.

Whatever is registered next is covered without a line here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import play
import pytest

from nas_core import registry
from nas_core import space as algebra
from nas_core.interfaces import SearchSpace, Strategy
from nas_core.types import Architecture, Decision, Proposal, Status, Trial

SEED = 1
every_pair = pytest.mark.parametrize(("strategy_name", "space_name"), play.PAIRS)
every_strategy = pytest.mark.parametrize("strategy_name", registry.names("strategies"))


@dataclass(frozen=True)
class Tiny:
    """Six architectures: (2 + 1) * 2."""

    decisions: tuple[Decision, ...] = (
        Decision(name="gate", options=("off", "on")),
        Decision(name="behind", options=("a", "b"), active_if=((0, frozenset({1})),)),
        Decision(name="free", options=("x", "y")),
    )

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


def keys(space: SearchSpace, items: Sequence[Trial | Proposal]) -> list[tuple[Architecture, float]]:
    return [(algebra.canonical(space, item.architecture), item.fidelity) for item in items]


def due(space: SearchSpace, known: Sequence[Trial | Proposal], n: int) -> int:
    """How many proposals a call for `n` has to answer with: fewer only if fewer remain."""
    seen = {architecture for architecture, _ in keys(space, known)}
    unseen: set[Architecture] = set()
    for architecture in algebra.architectures(space):
        if len(unseen) == n:
            break
        unseen |= {algebra.canonical(space, architecture)} - seen
    return len(unseen)


def assert_exactly_n(space: SearchSpace, answers: list[list[Proposal]], n: int) -> None:
    known: list[Proposal] = []
    for answer in answers:
        assert len(answer) == due(space, known, n)
        known += answer


def always(status: Status) -> play.Outcome:
    return lambda _: status


# ---------------------------------------------------------------- what is proposed


@every_pair
def test_each_call_gets_exactly_n_that_are_valid_and_unseen(strategy_name: str, space_name: str) -> None:
    space = play.make_space(space_name)
    strategy = play.make_strategy(strategy_name, space, SEED)
    history, answers = play.play(lambda: strategy)
    assert_exactly_n(space, answers, 3)
    assert len(set(keys(space, history))) == len(history)
    for trial in history:
        algebra.validate(space, trial.architecture)


@every_pair
def test_parents_are_earlier_trials_and_reasons_are_plain(strategy_name: str, space_name: str) -> None:
    space = play.make_space(space_name)
    strategy = play.make_strategy(strategy_name, space, SEED)
    history, answers = play.play(lambda: strategy)
    assert all(parent < trial.number for trial in history for parent in trial.parents)
    for proposal in (proposal for answer in answers for proposal in answer):
        assert 0 < proposal.fidelity <= 1
        assert proposal.why
        assert all(type(name) is str and type(value) in {str, float} for name, value in proposal.why)


@pytest.mark.parametrize("status", list(Status))
@every_pair
def test_any_outcome_of_all_trials_is_tolerated(strategy_name: str, space_name: str, status: Status) -> None:
    space = play.make_space(space_name)
    strategy = play.make_strategy(strategy_name, space, SEED)
    _, answers = play.play(lambda: strategy, calls=8, batch=4, outcome=always(status))
    assert_exactly_n(space, answers, 4)


@every_pair
def test_trials_of_an_earlier_cycle_are_known_and_may_be_tried_again(strategy_name: str, space_name: str) -> None:
    space = play.make_space(space_name)
    strategy = play.make_strategy(strategy_name, space, SEED)
    history, _ = play.play(lambda: strategy, calls=3, outcome=always(Status.OK))
    prior = [replace(trial, origin=f"before#{trial.number}", finished=None) for trial in history if trial.metrics]
    proposals = strategy.propose(prior, 5)
    assert len(proposals) == due(space, [], 5)
    assert len(set(keys(space, proposals))) == len(proposals)


@every_strategy
def test_a_space_of_which_all_was_tried_in_an_earlier_cycle_is_not_exhausted(strategy_name: str) -> None:
    prior = [
        play.settle(Trial(number=i, architecture=a, origin=f"before#{i}"), Status.OK, 0)
        for i, a in enumerate(algebra.architectures(Tiny()))
    ]
    assert play.make_strategy(strategy_name, Tiny(), SEED).propose(prior, 1)


# ---------------------------------------------------------------- purity


@every_pair
def test_an_answer_depends_on_the_history_alone(strategy_name: str, space_name: str) -> None:
    """Resumed is uninterrupted: a strategy made anew for each call answers as one that was there all along."""
    space = play.make_space(space_name)
    stayed = play.make_strategy(strategy_name, space, SEED)
    assert play.play(lambda: stayed) == play.play(lambda: play.make_strategy(strategy_name, space, SEED))


@every_pair
def test_an_earlier_history_gets_its_earlier_answer(strategy_name: str, space_name: str) -> None:
    strategy = play.make_strategy(strategy_name, play.make_space(space_name), SEED)
    first = strategy.propose([], 3)
    play.play(lambda: strategy)
    assert strategy.propose([], 3) == first


def test_a_new_process_gives_the_same_answers() -> None:
    printed = subprocess.run([sys.executable, play.__file__], check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == play.everything(SEED)


@every_pair
def test_another_seed_gives_other_answers(strategy_name: str, space_name: str) -> None:
    space = play.make_space(space_name)
    games = [play.play(lambda s=s: play.make_strategy(strategy_name, space, s))[1] for s in (1, 2)]
    assert games[0] != games[1]


# ---------------------------------------------------------------- exhaustion


def exhaust(strategy: Strategy, n: int) -> list[list[Proposal]]:
    """Ask for `n` again and again until nothing comes; every trial succeeds."""
    history: list[Trial] = []
    answers: list[list[Proposal]] = []
    while not answers or answers[-1]:
        answers.append(list(strategy.propose(history, n)))
        started = len(history)
        history += [play.pending(proposal, started + i) for i, proposal in enumerate(answers[-1])]
        history[started:] = [play.settle(trial, Status.OK, trial.number) for trial in history[started:]]
    return answers


@every_strategy
@pytest.mark.parametrize(("n", "sizes"), [(1, [1] * 6 + [0]), (4, [4, 2, 0]), (100, [6, 0])])
def test_fewer_come_only_when_fewer_remain(strategy_name: str, n: int, sizes: list[int]) -> None:
    answers = exhaust(play.make_strategy(strategy_name, Tiny(), SEED), n)
    assert [len(answer) for answer in answers] == sizes
    proposed = [proposal.architecture for answer in answers for proposal in answer]
    assert sorted(proposed) == list(algebra.architectures(Tiny()))


@every_strategy
def test_all_pending_and_nothing_unseen_means_wait(strategy_name: str) -> None:
    history = [Trial(number=i, architecture=a) for i, a in enumerate(algebra.architectures(Tiny()))]
    assert list(play.make_strategy(strategy_name, Tiny(), SEED).propose(history, 2)) == []
