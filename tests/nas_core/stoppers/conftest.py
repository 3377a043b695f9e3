from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nas_core.history import with_report
from nas_core.interfaces import Stopper
from nas_core.types import Objective, Status, Trial

MAX = (Objective(metric="accuracy", goal="max"),)
Points = dict[int, float]


def history_of(*curves: Points, metric: str = "accuracy", **changes: Any) -> list[Trial]:
    """Return pending trials with these curves, each `step: figure`."""
    return [
        Trial(number=n, architecture=(n,), curve=tuple((s, {metric: v}) for s, v in curve.items()), **changes)
        for n, curve in enumerate(curves)
    ]


def judge(stopper: Stopper, *curves: Points, **changes: Any) -> bool:
    """Return what `stopper` says of the last of these curves."""
    return stopper.stop(history_of(*curves, **changes), len(curves) - 1)


def reports(
    rng: np.random.Generator, trials: int, steps: int, wide: int
) -> Generator[tuple[int, int, float], bool, None]:
    """Yield (number, step, figure): learning curves with noise, `wide` trials at a time, some steps left out.

    The trial is over when True is sent back.
    """
    waiting, running = list(range(trials)), dict[int, int]()
    talent = rng.random(trials)
    while waiting or running:
        while waiting and len(running) < wide:
            running[waiting.pop(0)] = 0
        number = int(rng.choice(list(running)))
        running[number] += int(rng.integers(1, 4))
        step = running[number]
        figure = float(talent[number] + 0.3 * np.log(step) + 0.2 * rng.standard_normal())
        if step > steps or (yield number, step, figure):
            del running[number]


def compare(
    stopper: Stopper, other: Callable[[list[Trial], int, int, float], bool], objective: Objective, seed: int
) -> list[bool]:
    """Let both judge the reports of one search and return the answers; AssertionError where they differ."""
    rng = np.random.default_rng(seed)
    history = history_of(*[{}] * 40)
    answers: list[bool] = []
    course = reports(rng, trials=40, steps=70, wide=int(rng.integers(1, 9)))
    report = next(course, None)
    while report is not None:
        number, step, figure = report
        history[number] = with_report(history[number], step, {objective.metric: figure})
        answers.append(stopper.stop(history, number))
        assert other(history, number, step, figure) is answers[-1], (number, step)
        if answers[-1]:
            history[number] = replace(history[number], status=Status.PRUNED, metrics=history[number].curve[-1][1])
        try:
            report = course.send(answers[-1])
        except StopIteration:
            report = None
    return answers


@pytest.fixture(params=["max", "min"])
def objective(request: pytest.FixtureRequest) -> Objective:
    return Objective(metric="figure", goal=request.param)
