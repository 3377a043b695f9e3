from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
import pytest

from components.strategies.optuna_tpe import OptunaTPE
from nas_core import registry
from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.strategies.random import Random
from nas_core.types import Architecture, Decision, Objective, Status, Trial

ACCURACY = Objective(metric="accuracy", goal="max")
LATENCY = Objective(metric="latency_ms", goal="min")


@dataclass(frozen=True)
class Grid:
    """Five decisions of four options; the last one counts only if the first takes its option 3."""

    decisions: tuple[Decision, ...] = (
        *(Decision(name=f"place_{i}", options=tuple("abcd")) for i in range(4)),
        Decision(name="behind", options=tuple("abcd"), active_if=((0, frozenset({3})),)),
    )

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Small(Grid):
    """The grid, as far as options add up to no more than `most`."""

    most: int = 3

    def admits(self, architecture: Architecture) -> bool:
        return sum(architecture) <= self.most


def measured(architecture: Architecture) -> dict[str, float]:
    """Return figures that are best at 2 everywhere: the nearer the better."""
    return {"accuracy": 1 - sum(abs(v - 2) for v in architecture[:4]) / 8, "latency_ms": float(architecture[1])}


def done(number: int, architecture: Architecture, **changes: Any) -> Trial:
    trial = Trial(number=number, architecture=architecture, status=Status.OK, metrics=measured(architecture))
    return replace(trial, **{"finished": number, **changes})


def some(n: int) -> list[Trial]:
    rng = np.random.default_rng(0)
    return [done(i, algebra.sample(Grid(), rng)) for i in range(n)]


def told(history: Sequence[Trial], *objectives: Objective) -> list[optuna.trial.FrozenTrial]:
    return OptunaTPE(Grid(), objectives or [ACCURACY], 0)._study(history, 0).get_trials()


def test_it_is_found_by_its_entry_point() -> None:
    assert registry.load("strategies", "optuna-tpe") is OptunaTPE


# ---------------------------------------------------------------- what Optuna is told


def test_only_active_decisions_are_parameters() -> None:
    first, second = told([done(0, (3, 0, 1, 2, 1)), done(1, (0, 0, 1, 2, 0))])
    assert first.params == {"place_0": 3, "place_1": 0, "place_2": 1, "place_3": 2, "behind": 1}
    assert second.params == {"place_0": 0, "place_1": 0, "place_2": 1, "place_3": 2}


def test_values_are_those_of_the_objectives_in_their_direction() -> None:
    architecture = (2, 1, 2, 2, 0)
    study = OptunaTPE(Grid(), [ACCURACY, LATENCY], 0)._study([done(0, architecture)], 0)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.trials[0].values == [measured(architecture)["accuracy"], 1.0]


@pytest.mark.parametrize(("limit", "broken"), [(2.0, 0.5), (3.0, 0.0), (4.0, 0.0)])
def test_what_breaks_a_limit_breaks_a_constraint(limit: float, broken: float) -> None:
    (trial,) = told([done(0, (0, 3, 0, 0, 0))], replace(LATENCY, limit=limit))
    assert trial.constraints == {"limits": broken}


def test_pending_trials_are_running_ones() -> None:
    (trial,) = told([done(0, (0,) * 5, status=Status.PENDING, metrics=None)])
    assert trial.state is optuna.trial.TrialState.RUNNING


def test_full_trials_of_an_earlier_cycle_count() -> None:
    assert len(told([done(0, (0,) * 5, origin="before#3")])) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"status": Status.FAILED, "metrics": None},
        {"status": Status.INFEASIBLE, "metrics": None},
        {"status": Status.LOST, "metrics": None},
        {"status": Status.PRUNED},
        {"fidelity": 0.5},
    ],
)
def test_what_did_not_come_out_in_full_is_not_told(changes: dict[str, Any]) -> None:
    assert told([done(0, (0,) * 5, **changes)]) == []


# ---------------------------------------------------------------- what it proposes


def trials_to_the_optimum(kind: type[Random | OptunaTPE], seed: int) -> int:
    strategy = kind(Grid(), [ACCURACY], seed)
    history: list[Trial] = []
    while not history or history[-1].architecture != (2, 2, 2, 2, 0):
        (proposal,) = strategy.propose(history, 1)
        history.append(done(len(history), proposal.architecture))
    return len(history)


def test_it_finds_the_optimum_in_half_the_trials_of_random_search() -> None:
    """Of 448 architectures random search looks at about half; TPE needs about 30, so chance is no matter here."""
    assert np.median([trials_to_the_optimum(OptunaTPE, seed) for seed in range(5)]) < 100
    assert np.median([trials_to_the_optimum(Random, seed) for seed in range(25)]) > 150


def test_a_limit_steers_it_away() -> None:
    """Accuracy alone leads to 2 in place 1, which takes more than a millisecond."""
    limited = OptunaTPE(Grid(), [ACCURACY, replace(LATENCY, limit=1.0)], 0).propose(some(60), 10)
    free = OptunaTPE(Grid(), [ACCURACY], 0).propose(some(60), 10)
    assert sum(p.architecture[1] <= 1 for p in limited) > sum(p.architecture[1] <= 1 for p in free)


def test_it_keeps_the_limits_of_a_bounded_space() -> None:
    proposals = OptunaTPE(Small(), [ACCURACY], 0).propose([], 30)
    assert len(proposals) == 30
    assert all(Small().admits(p.architecture) for p in proposals)


def test_where_hardly_anything_is_admitted_it_samples() -> None:
    proposals = OptunaTPE(Small(most=0), [ACCURACY], 3).propose([], 2)
    assert [p.architecture for p in proposals] == [(0,) * 5]
    assert "beyond the limits" in str(proposals[0].why)


# ---------------------------------------------------------------- manners


def test_optuna_keeps_quiet_and_its_verbosity_stays(caplog: pytest.LogCaptureFixture) -> None:
    before = optuna.logging.get_verbosity()
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.DEBUG):
            OptunaTPE(Grid(), [ACCURACY], 0).propose(some(20), 2)
    finally:
        optuna.logging.disable_propagation()
    assert caplog.records == []
    assert optuna.logging.get_verbosity() == before


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"Optuna is not installed; pip install 'evernas\[tpe\]'"):
        OptunaTPE(Grid(), [ACCURACY], 0)


@pytest.mark.parametrize("option", ["n_startup_trials", "n_ei_candidates"])
def test_options_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(InputError, match=f"{option}: must be >= 1, got 0"):
        OptunaTPE(Grid(), [ACCURACY], 0, **{option: 0})
