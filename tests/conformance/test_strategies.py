"""Every registered strategy on every registered space: the laws of `Strategy.propose`.

Whatever is registered next is covered without a line here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import play
import pytest

from nas_core import registry
from nas_core import space as algebra
from nas_core.types import Architecture, Decision, Proposal, Status, Trial

SEED = 1
every_pair = pytest.mark.parametrize(
    ("strategy", "space"), [*product(play.STRATEGIES, play.SPACES), *product(play.AROUND, play.CLOSELY)]
)
closely = pytest.mark.parametrize(("strategy", "space"), [*product(play.STRATEGIES, play.CLOSELY)])
every_strategy = pytest.mark.parametrize("strategy", registry.names("strategies"))


def keys(space: str, items: Sequence[Trial | Proposal]) -> list[tuple[Architecture, float]]:
    return [(algebra.canonical(play.make_space(space), item.architecture), item.fidelity) for item in items]


def is_promotion(space: str, history: Sequence[Trial], proposal: Proposal) -> bool:
    """Whether `proposal` goes on, at a higher fidelity, with a trial of this study that came out."""
    parents = [history[number] for number in proposal.parents[:1]]
    return any(
        parent.status is Status.OK
        and not parent.origin
        and parent.fidelity < proposal.fidelity
        and keys(space, [parent])[0][0] == keys(space, [proposal])[0][0]
        for parent in parents
    )


def assert_lawful(space: str, call: play.Call, n: int) -> None:
    """Whatever is not a promotion is a candidate that was never tried, and there are as many as the space still has.

    So a strategy that knows one fidelity only answers with exactly `n`, or with all that remain.
    """
    tried = keys(space, [trial for trial in call.history if not trial.origin])
    asked = keys(space, call.answer)
    new = [proposal for proposal in call.answer if not is_promotion(space, call.history, proposal)]
    known = {candidate for candidate, _ in tried}
    assert not {*tried} & {*asked}, "a trial of this study is proposed again"
    assert len({candidate for candidate, _ in asked}) == len(asked), "one answer has twins"
    assert not known & {candidate for candidate, _ in keys(space, new)}, "tried, and not promoted from what came out"
    promoted = len(asked) - len(new)
    assert len(new) == min(n - promoted, play.candidates(space) - len(known))


def per_call(space: str) -> int:
    """Half as many calls, each for twice as many, show as much of a space and take half the time."""
    return 3 if space in play.CLOSELY else 6


@cache
def game(strategy: str, space: str) -> list[play.Call]:
    """The game that several tests look at: 48 trials, if the space has as many."""
    n = per_call(space)
    return play.play(play.make_strategy(strategy, play.make_space(space), SEED), calls=48 // n, batch=n)


# ---------------------------------------------------------------- what is proposed


@every_pair
def test_each_call_gets_exactly_n_that_are_unseen_or_promoted(strategy: str, space: str) -> None:
    for call in game(strategy, space):
        assert_lawful(space, call, per_call(space))


@every_pair
def test_proposals_are_valid_parents_are_earlier_trials_and_reasons_are_plain(strategy: str, space: str) -> None:
    for history, answer in game(strategy, space):
        for proposal in answer:
            algebra.validate(play.make_space(space), proposal.architecture)
            assert 0 < proposal.fidelity <= 1
            assert all(0 <= parent < len(history) for parent in proposal.parents)
            assert proposal.why
            assert all(type(name) is str and type(value) in {str, float} for name, value in proposal.why)


@pytest.mark.parametrize("status", list(Status))
@closely
def test_any_outcome_of_all_trials_is_tolerated(strategy: str, space: str, status: Status) -> None:
    player = play.make_strategy(strategy, play.make_space(space), SEED)
    for call in play.play(player, calls=6, batch=4, outcome=lambda _: status):
        assert_lawful(space, call, 4)


@every_pair
def test_trials_of_an_earlier_cycle_are_known_and_may_be_tried_again(strategy: str, space: str) -> None:
    prior = tuple(
        replace(trial, number=number, origin=f"before#{trial.number}", parents=(), finished=None)
        for number, trial in enumerate(t for t in game(strategy, space)[-1].history if t.metrics)
    )
    player = play.make_strategy(strategy, play.make_space(space), SEED)
    assert_lawful(space, play.Call(prior, list(player.propose(prior, 5))), 5)


@every_strategy
def test_a_space_of_which_all_was_tried_in_an_earlier_cycle_is_not_exhausted(strategy: str) -> None:
    prior = [
        play.settle(Trial(number=i, architecture=a, origin=f"before#{i}"), Status.OK, 0)
        for i, a in enumerate(algebra.architectures(play.Tiny()))
    ]
    assert play.make_strategy(strategy, play.Tiny(), SEED).propose(prior, 1)


# ---------------------------------------------------------------- purity


@every_pair
def test_resumed_is_uninterrupted(strategy: str, space: str) -> None:
    """A strategy that is made now answers as the one that was there all along."""
    last = game(strategy, space)[-1]
    resumed = play.make_strategy(strategy, play.make_space(space), SEED)
    assert list(resumed.propose(last.history, per_call(space))) == last.answer


@closely
def test_an_answer_depends_on_the_history_alone(strategy: str, space: str) -> None:
    """One strategy that is asked about later histories first answers as one that lived through them."""
    player = play.make_strategy(strategy, play.make_space(space), SEED)
    for call in reversed(game(strategy, space)):
        assert list(player.propose(call.history, 3)) == call.answer


def test_a_new_process_gives_the_same_answers() -> None:
    printed = subprocess.run([sys.executable, play.__file__], check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == play.everything(SEED)


@closely
def test_another_seed_gives_other_answers(strategy: str, space: str) -> None:
    other = play.play(play.make_strategy(strategy, play.make_space(space), SEED + 1))
    assert other != game(strategy, space)


# ---------------------------------------------------------------- exhaustion


def exhaust(strategy: str, n: int) -> list[play.Call]:
    """Ask for `n` again and again until nothing comes; every trial succeeds at once."""
    player = play.make_strategy(strategy, play.Tiny(), SEED)
    history: list[Trial] = []
    calls: list[play.Call] = []
    while not calls or calls[-1].answer:
        calls.append(play.Call(tuple(history), list(player.propose(history, n))))
        history += [
            play.settle(play.pending(proposal, number), Status.OK, number)
            for number, proposal in enumerate(calls[-1].answer, len(history))
        ]
    return calls


@every_strategy
@pytest.mark.parametrize("n", [1, 4, 100])
def test_fewer_come_only_when_fewer_remain(strategy: str, n: int) -> None:
    for call in exhaust(strategy, n):
        assert_lawful(play.TINY, call, n)


@every_strategy
@pytest.mark.parametrize("n", [1, 4, 100])
def test_a_search_that_ends_has_tried_everything_in_full(strategy: str, n: int) -> None:
    tried = [(trial.architecture, trial.fidelity) for trial in exhaust(strategy, n)[-1].history]
    assert {architecture for architecture, fidelity in tried if fidelity == 1} == {*algebra.architectures(play.Tiny())}


@every_strategy
def test_all_pending_and_nothing_unseen_means_wait(strategy: str) -> None:
    history = [Trial(number=i, architecture=a) for i, a in enumerate(algebra.architectures(play.Tiny()))]
    assert list(play.make_strategy(strategy, play.Tiny(), SEED).propose(history, 2)) == []


# ---------------------------------------------------------------- what is odd


@dataclass(frozen=True)
class Odd:
    """A space of few or no decisions."""

    decisions: tuple[Decision, ...]

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


@every_strategy
@pytest.mark.parametrize("decisions", [(), (Decision(name="only", options=("a",)),)], ids=["none", "one"])
def test_a_space_of_one_architecture_is_searched(strategy: str, decisions: tuple[Decision, ...]) -> None:
    space = Odd(decisions)
    player = play.make_strategy(strategy, space, SEED)
    history: list[Trial] = []
    while proposals := player.propose(history, 2):
        assert {proposal.architecture for proposal in proposals} == {(0,) * len(decisions)}
        started = [play.pending(proposal, len(history)) for proposal in proposals]
        history += [play.settle(trial, Status.OK, trial.number) for trial in started]
    assert history[-1].fidelity == 1
    assert len({trial.fidelity for trial in history}) == len(history)


@every_strategy
@pytest.mark.parametrize("figure", [0.0, 0.5, -1e12, 1e30])
def test_figures_that_tell_nothing_are_tolerated(strategy: str, figure: float) -> None:
    player = play.make_strategy(strategy, play.Tiny(), SEED)
    history: list[Trial] = []
    for _ in range(4):
        for proposal in player.propose(history, 2):
            trial = play.settle(play.pending(proposal, len(history)), Status.OK, len(history))
            history.append(replace(trial, metrics=dict.fromkeys(trial.metrics or {}, figure)))
    assert len({trial.architecture for trial in history}) >= 3
