"""Objectives of the machine, end to end: measured, limited, chosen by rule, recorded and told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components import placement
from components.search.stage import search
from components.spec import Spec
from components.spec_rules import broken_rules
from nas_core.errors import EvernasError, InputError
from nas_core.history import History
from nas_core.ledger import Ledger
from nas_core.store import MemoryStore, Store
from nas_core.types import Status

Tumour = Callable[..., Spec]

ACCURACY = {"metric": "accuracy", "goal": "max"}
TWO = [ACCURACY, {"metric": "model_size_mb", "goal": "min"}]


def play(spec: Spec, data: Path, out: Path, store: Store | None = None) -> dict[str, Any]:
    ledger = Ledger(store or MemoryStore())
    return search(spec, data, ledger, out, name="tumour-1", on_trial=lambda *_: None)


def test_every_trial_has_the_metrics_of_the_costs(tumour: Tumour, prepared: Path, tmp_path: Path) -> None:
    costs = [{"kind": "latency", "repeats": 5}, {"kind": "size"}, {"kind": "memory"}, {"kind": "energy"}]
    store = MemoryStore()
    objectives = [ACCURACY, {"metric": "latency_ms", "goal": "min", "limit": 10_000}]
    found = play(tumour(costs=costs, objectives=objectives, budget={"trials": 2}), prepared, tmp_path, store)
    names = {"latency_ms", "latency_ms_spread", "model_size_mb", "peak_memory_mb", "energy_j", "co2_g", "flops"}
    assert names <= found["metrics"].keys()
    trials = History(Ledger(store).entries()).trials
    assert all(names <= metrics.keys() for trial in trials for _, metrics in trial.curve)


@pytest.mark.parametrize(
    "choose",
    [
        {"kind": "within-limits"},
        {"kind": "knee"},
        {"kind": "lexicographic", "tolerances": {"accuracy": 0.02}},
        {"kind": "weighted", "weights": {"accuracy": 1, "model_size_mb": 1}},
    ],
)
def test_the_rule_picks_from_the_front_and_the_ledger_says_why(
    tumour: Tumour, prepared: Path, tmp_path: Path, choose: dict[str, Any]
) -> None:
    store = MemoryStore()
    spec = tumour(costs=[{"kind": "size"}], objectives=TWO, choose=choose, budget={"trials": 5})
    found = play(spec, prepared, tmp_path, store)
    assert found["trial"] in found["front"]
    assert found["choice"]["rule"] == choose["kind"]
    assert found["choice"]["front"] == len(found["front"])
    entries = [entry.data for entry in Ledger(store).entries({"choice"})]
    assert entries == [{"trial": found["trial"], **found["choice"]}]
    assert play(spec, prepared, tmp_path, store)["choice"] == found["choice"]
    assert len(list(Ledger(store).entries({"choice"}))) == 1


def test_a_trial_that_would_not_fit_is_told_so_and_not_begun(
    tumour: Tumour, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    monkeypatch.setattr(placement, "available_mb", lambda: 0.01)
    with pytest.raises(EvernasError, match=r"4 infeasible\); the first ended with: oom: needs about"):
        play(tumour(), prepared, tmp_path, store)
    trials = History(Ledger(store).entries()).trials
    assert {trial.status for trial in trials} == {Status.INFEASIBLE}
    assert all(trial.cost_seconds == 0 and not trial.curve for trial in trials)


def test_a_place_on_ray_has_the_memory_that_is_asked_for(tumour: Tumour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "available_mb", lambda: 8000.0)
    monkeypatch.setattr("os.cpu_count", lambda: 8)

    def place(**runner: Any) -> float | None:
        return placement.place_mb(tumour(runner={"kind": "ray", **runner}).search.runner)

    assert place(memory_mb=1500.0) == 1500
    assert place(cpus=2.0) == 2000
    assert place(cpus=2.0, max_concurrent=1) == 8000
    assert place(address="auto") is None
    assert place(memory_mb=1500.0, gpus=1.0) is None
    assert placement.place_mb(tumour().search.runner) == 8000


@pytest.mark.parametrize(
    ("search_keys", "message"),
    [
        (
            {"objectives": [ACCURACY, {"metric": "latency_ms", "goal": "min", "limit": 5}]},
            r"objectives\[1\]\.metric: nothing here measures latency_ms.*add \{kind: latency\} to search\.costs",
        ),
        (
            {"objectives": [ACCURACY, {"metric": "latency_ms/pi", "goal": "min"}]},
            r"objectives\[1\]\.metric: nothing here measures latency_ms/pi.*the cost device-latency",
        ),
        (
            {"costs": [{"kind": "latency"}], "objectives": [{"metric": "latency_ms", "goal": "max"}]},
            r"objectives\[0\]\.goal: of latency_ms, less is better",
        ),
        (
            {"costs": [{"kind": "latency"}], "objectives": [ACCURACY, {"metric": "latency", "goal": "min"}]},
            r"unknown metric 'latency'|metric: unknown name 'latency', expected one of .*did you mean 'latency_ms'",
        ),
        ({"costs": [{"kind": "latncy"}]}, r"search\.costs\[0\]\.kind: unknown name 'latncy'.*did you mean 'latency'"),
        ({"choose": {"kind": "elbow"}}, r"search\.choose"),
        (
            {"choose": {"kind": "weighted", "weights": {"accurcy": 1}}},
            r"search\.choose\.weights: unknown name 'accurcy', expected one of accuracy",
        ),
        ({"choose": {"kind": "weighted", "weights": {"accuracy": -1}}}, r"search\.choose\..*at least 0, got -1"),
        ({"choose": {"kind": "weighted", "weights": {}}}, r"search\.choose\.weights: one at least must be > 0"),
        ({"choose": {"kind": "lexicographic", "tolerances": {"params": 5}}}, r"search\.choose\.tolerances: unknown"),
    ],
)
def test_what_cannot_be_asked_for(tumour: Tumour, search_keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tumour(**search_keys)


def test_a_plugin_s_cost_may_measure_anything(tumour: Tumour, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas_core import registry

    monkeypatch.setitem(registry._BUILT_IN["costs"], "beauty", "nas_core.costs.size:Size")
    registry.targets.cache_clear()
    spec = tumour(costs=[{"kind": "beauty"}], objectives=[ACCURACY, {"metric": "grace", "goal": "max"}])
    assert list(broken_rules(spec)) == []
    registry.targets.cache_clear()


@pytest.mark.slow
def test_costs_and_places_on_ray(tumour: Tumour, prepared: Path, tmp_path: Path) -> None:
    """Workers measure, and what would not fit gets no worker."""
    costs = [{"kind": "latency", "repeats": 5}, {"kind": "size"}]
    objectives = [ACCURACY, {"metric": "latency_ms", "goal": "min"}]
    search_keys: dict[str, Any] = {"costs": costs, "objectives": objectives, "budget": {"trials": 3}}
    found = play(tumour(**search_keys, runner={"kind": "ray"}), prepared, tmp_path / "fits")
    assert found["statuses"] == {"ok": 3}
    assert found["metrics"]["latency_ms"] > 0
    with pytest.raises(EvernasError, match=r"3 infeasible\); the first ended with: oom: .* its place has 1 MB"):
        play(tumour(**search_keys, runner={"kind": "ray", "memory_mb": 1}), prepared, tmp_path / "fits-not")
