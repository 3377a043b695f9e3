"""A search that is killed at any commits ends as if it had never been: every kind of strategy, in process."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer

from nas_core import registry
from nas_core.estimators.training import Training
from nas_core.interfaces import Estimator, Rung, SearchSpace, Session
from nas_core.ledger import Ledger, verify
from nas_core.runner import LocalRunner
from nas_core.spaces.chain import Chain
from nas_core.store import MemoryStore
from nas_core.study import LedgerStudy
from nas_core.tasks.tabular import Tabular
from nas_core.types import Architecture, Budget, Decision, Metrics, Objective, Port, Signature, Status, Trial

OBJECTIVES = (Objective(metric="accuracy", goal="max"), Objective(metric="params", goal="min"))
SEARCHES: dict[str, dict[str, Any]] = {
    "regularized-evolution": {"population": 4, "sample": 2},
    "asha": {"min_fidelity": 0.3},
    "bayesian": {"initial": 3},
    "hyperband": {"min_fidelity": 0.3},
}


class Killed(BaseException):
    """The process is gone: nothing may catch it and go on."""


class Mortal(MemoryStore):
    """Dies at the creation of an object: before or, if it is `late`, after the object is there."""

    lives = math.inf
    late = False

    def create(self, key: str, data: bytes) -> None:
        self.lives -= 1
        if self.lives < 0 and not self.late:
            raise Killed
        super().create(key, data)
        if self.lives < 0:
            raise Killed


class Space:
    """64 architectures, some of which fail."""

    decisions = tuple(Decision(name=name, options=tuple("0123")) for name in "abc")

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


class Curved:
    """Six steps in full, each a checkpoint; a figure is the sum of gains that architecture and step determine."""

    def estimate(self, trial: Trial, session: Session) -> Metrics:
        steps, curve = max(1, round(6 * trial.fidelity)), list[float]()
        for number in (None, *trial.parents[:1]):
            if folder := session.restore(number):
                architecture, known = json.loads((folder / "state.json").read_text())
                if architecture == list(trial.architecture) and len(known) <= steps:
                    curve = known
                    break
        if sum(trial.architecture) % 5 == 4:
            raise FloatingPointError("loss is nan")
        metrics: dict[str, float] = {}
        for step in range(1, steps + 1):
            if new := step > len(curve):
                curve.append(sum(curve[-1:]) + self.gain(trial.architecture, step))
            metrics = {"accuracy": curve[step - 1], "params": float(sum(trial.architecture))}

            def save(folder: Path) -> None:
                (folder / "state.json").write_text(json.dumps([trial.architecture, curve]))

            if session.report(step, metrics, save if new else None):
                break
        return metrics

    @staticmethod
    def gain(architecture: Architecture, step: int) -> float:
        a, b, c = architecture
        return ((a * 7 + b * 13 + c * 29 + step * 3) % 17 + a + c) / 128 / step


def signature() -> Signature:
    return Signature(inputs=(Port(name="numeric", shape=(8,)),), outputs=(Port(name="target", shape=(2,), classes=2),))


@cache
def task() -> Tabular:
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)[:, :8]
    return Tabular(signature(), {"train": ((x[:200],), y[:200]), "validation": ((x[200:400],), y[200:400])})


@cache
def chain() -> Chain:
    return Chain(signature(), max_depth=2, widths=(4, 8), normalisations=("batch",), dropouts=(0.2,), residual=(False,))


def search(
    store: MemoryStore,
    folder: Path,
    strategy: str,
    stopper: str | None,
    space: SearchSpace,
    estimator: Estimator,
    n: int,
) -> list[tuple[Any, ...]]:
    """Run the search to its end, in one process, and return what must not depend on who was killed."""
    study = LedgerStudy(
        Ledger(store),
        space,
        OBJECTIVES,
        registry.load("strategies", strategy)(space, OBJECTIVES, 1, **SEARCHES[strategy]),
        stopper=registry.load("stoppers", stopper)(OBJECTIVES) if stopper else None,
    )
    LocalRunner(folder).run(study, [Rung(1.0, estimator)], Budget(trials=n))
    return results(study.history)


def results(history: Sequence[Trial]) -> list[tuple[Any, ...]]:
    return [(t.architecture, t.fidelity, t.parents, t.status, t.metrics, t.curve, t.finished, t.error) for t in history]


def killed_and_resumed(kills: Sequence[tuple[int, bool]], run: Callable[[MemoryStore, Path], Any]) -> tuple[Any, int]:
    """Return what `run` comes to when it is killed after so many commits, again and again; and how often it was."""
    store, deaths = Mortal(), 0
    with TemporaryDirectory() as folder:
        for lives, late in kills:
            store.lives, store.late = lives, late
            try:
                run(store, Path(folder))
            except Killed:
                deaths += 1
        store.lives = math.inf
        found = run(store, Path(folder))
        verify(store, None)
    resumed = list(Ledger(store).entries({"resumed"}))
    assert len(resumed) <= deaths
    outcomes = [entry.data["number"] for entry in Ledger(store).entries({"outcome"})]
    assert sorted(outcomes) == list(range(len(found))), "each trial ends once"
    return found, deaths


@cache
def uninterrupted(strategy: str, stopper: str | None) -> list[tuple[Any, ...]]:
    with TemporaryDirectory() as folder:
        return search(MemoryStore(), Path(folder), strategy, stopper, Space(), Curved(), 16)


kills = st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("strategy", "stopper"),
    [*product(("regularized-evolution", "asha", "hyperband"), (None, "median", "asha")), ("bayesian", "median")],
)
@settings(max_examples=7, suppress_health_check=[HealthCheck.too_slow])
@example([(0, False)])
@example([(1, True), (0, False), (0, True), (2, False)])
@given(kills)
def test_killed_at_any_commits_the_search_is_the_same(
    strategy: str, stopper: str | None, kills: list[tuple[int, bool]]
) -> None:
    expected = uninterrupted(strategy, stopper)
    found, deaths = killed_and_resumed(
        kills, lambda store, folder: search(store, folder, strategy, stopper, Space(), Curved(), 16)
    )
    assert deaths or min(lives for lives, _ in kills) > 0
    assert found == expected


@pytest.mark.parametrize("strategy", SEARCHES)
def test_what_is_killed_above_has_all_that_a_search_has(strategy: str) -> None:
    """Or the test above would show little."""
    trials = uninterrupted(strategy, "median")
    assert {status for _, _, _, status, *_ in trials} == {Status.OK, Status.PRUNED, Status.FAILED}
    promoted = [architecture for architecture, fidelity, parents, *_ in trials if fidelity == 1.0 and parents]
    assert bool(promoted) is (strategy != "bayesian")


@cache
def trained() -> list[tuple[Any, ...]]:
    with TemporaryDirectory() as folder:
        return search(MemoryStore(), Path(folder), "asha", "median", chain(), training(), 9)


def training() -> Training:
    return Training(chain(), task(), 0, epochs=6, batch_size=50)


@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
@given(kills)
def test_killed_at_any_commits_a_search_that_trains_is_the_same(kills: list[tuple[int, bool]]) -> None:
    found, _ = killed_and_resumed(
        kills, lambda store, folder: search(store, folder, "asha", "median", chain(), training(), 9)
    )
    assert found == trained()
