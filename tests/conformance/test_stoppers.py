"""Every registered stopper: the laws of `Stopper.stop`, on searches of made-up learning curves.

Whatever is registered next is covered without a line here.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from nas_core import registry
from nas_core.history import with_report
from nas_core.interfaces import Stopper
from nas_core.types import Objective, Status, Trial

STOPPERS = registry.names("stoppers")
every_stopper = pytest.mark.parametrize("name", STOPPERS)

MAX = (Objective(metric="accuracy", goal="max"), Objective(metric="latency_ms", goal="min", limit=0.5))
MIN = (Objective(metric="accuracy", goal="min"), Objective(metric="latency_ms", goal="min", limit=0.5))
STEPS, TRIALS, WIDE = 27, 40, 4


def make(name: str, objectives: Sequence[Objective] = MAX) -> Stopper:
    stopper: Stopper = registry.load("stoppers", name)(objectives)
    return stopper


class Call(NamedTuple):
    """What a stopper was shown, whom it was asked about, and what it answered."""

    history: tuple[Trial, ...]
    number: int
    answer: bool


def play(stopper: Stopper, *, mirrored: bool = False, metric: str = "accuracy") -> list[Call]:
    """Ask about the reports of a search: `WIDE` trials at a time, priors, fidelities, and ends of all kinds."""
    rng = np.random.default_rng(2)
    talents = rng.random(TRIALS)
    sign = -1.0 if mirrored else 1.0
    history = [
        Trial(
            number=number,
            architecture=(number,),
            fidelity=1 / 3 if number % 8 == 7 else 1.0,
            origin=f"before#{number}" if number < 3 else "",
        )
        for number in range(TRIALS)
    ]
    running: list[int] = []
    waiting = list(range(TRIALS))
    calls: list[Call] = []
    while waiting or running:
        while waiting and len(running) < WIDE:
            running.append(waiting.pop(0))
        number = running[int(rng.integers(len(running)))]
        trial = history[number]
        step = trial.curve[-1][0] + 1 if trial.curve else 1
        figure = sign * float(talents[number] + 0.2 * np.log(step) + 0.05 * rng.standard_normal())
        trial = history[number] = with_report(trial, step, {metric: figure, "latency_ms": float(rng.random())})
        stops = False
        if not trial.origin:
            stops = stopper.stop(tuple(history), number)
            calls.append(Call(tuple(history), number, stops))
        if stops or step >= STEPS * trial.fidelity or rng.random() < 0.01:
            history[number] = ended(trial, stops, step)
            running.remove(number)
    return calls


def ended(trial: Trial, stopped: bool, step: int) -> Trial:
    if stopped:
        return replace(trial, status=Status.PRUNED, metrics=trial.curve[-1][1])
    if step < STEPS * trial.fidelity:
        return replace(trial, status=Status.FAILED, error="nan: loss is nan")
    return replace(trial, status=Status.OK, metrics=trial.curve[-1][1])


@cache
def game(name: str) -> list[Call]:
    return play(make(name))


@every_stopper
def test_it_stops_some_and_not_all(name: str) -> None:
    stopped = sum(call.answer for call in game(name))
    assert 0.1 * TRIALS < stopped < 0.9 * TRIALS


@every_stopper
def test_an_answer_depends_on_the_history_alone(name: str) -> None:
    """One made now, asked about later histories first, answers as the one that lived through them."""
    stopper = make(name)
    for call in reversed(game(name)):
        assert stopper.stop(list(call.history), call.number) is call.answer


@every_stopper
def test_it_answers_with_a_bool_and_leaves_the_history_as_it_was(name: str) -> None:
    stopper = make(name)
    call = game(name)[-1]
    history = list(call.history)
    assert type(stopper.stop(history, call.number)) is bool
    assert history == list(call.history)


def answers() -> dict[str, list[Any]]:
    return {name: [(call.number, call.answer) for call in play(make(name))] for name in STOPPERS}


def test_a_new_process_gives_the_same_answers() -> None:
    printed = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == json.loads(json.dumps(answers()))


@every_stopper
def test_a_lone_trial_is_never_stopped(name: str) -> None:
    stopper, trial = make(name), Trial(number=0, architecture=(0,))
    for step in range(1, 100):
        trial = with_report(trial, step, {"accuracy": 1.0 / step, "latency_ms": 9.0})
        assert not stopper.stop([trial], 0)


@every_stopper
def test_the_best_trial_is_never_stopped(name: str) -> None:
    """One that was better than all others all along, at each of its reports, and within the limit."""
    stopper, best = make(name), 0
    history = list(game(name)[-1].history)
    trial = Trial(number=len(history), architecture=(99,))
    for step in range(1, 2 * STEPS):
        trial = with_report(trial, step, {"accuracy": 5.0 + (step % 5) / 10, "latency_ms": 0.0})
        best += not stopper.stop([*history, trial], trial.number)
    assert best == 2 * STEPS - 1


@every_stopper
def test_equals_are_never_stopped(name: str) -> None:
    stopper = make(name)
    history = [Trial(number=number, architecture=(number,)) for number in range(6)]
    for step in range(1, STEPS):
        for number in range(6):
            history[number] = with_report(history[number], step, {"accuracy": 0.1, "latency_ms": float(number)})
            assert not stopper.stop(history, number)


@every_stopper
def test_mirrored_figures_and_goal_give_the_same_answers(name: str) -> None:
    mirrored = play(make(name, MIN), mirrored=True)
    assert [(call.number, call.answer) for call in mirrored] == [(call.number, call.answer) for call in game(name)]


@every_stopper
def test_without_the_metric_nothing_is_stopped_and_has_no_say(name: str) -> None:
    assert not any(call.answer for call in play(make(name), metric="something else"))
    call = next(call for call in game(name) if call.answer)
    bare = [
        trial
        if trial.number == call.number
        else replace(trial, curve=tuple((s, {"other": 0.0}) for s, _ in trial.curve))
        for trial in call.history
    ]
    assert not make(name).stop(bare, call.number)


@every_stopper
def test_trials_without_a_report_have_no_say(name: str) -> None:
    stopper = make(name)
    for call in game(name)[::7]:
        more = [Trial(number=len(call.history) + i, architecture=(i,)) for i in range(20)]
        assert stopper.stop([*call.history, *more], call.number) is call.answer


@every_stopper
def test_the_search_before_has_no_say(name: str) -> None:
    """Its trials have met other data."""
    stopper = make(name)
    for call in game(name)[::7]:
        changed = [
            replace(trial, curve=tuple((s, {"accuracy": 9.0}) for s, _ in trial.curve)) if trial.origin else trial
            for trial in call.history
        ]
        assert stopper.stop(changed, call.number) is call.answer


@every_stopper
def test_options_are_typed_and_have_defaults_and_it_says_what_it_is(name: str) -> None:
    factory = registry.load("stoppers", name)
    assert registry.summary("stoppers", name).endswith(".")
    assert inspect.getdoc(factory)
    assert registry.about("stoppers", name).keys() == {"cost", "reference"}
    for option in registry.options(factory):
        assert option.type in {int, float, str, bool}
        assert isinstance(option.default, option.type)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answers()))
