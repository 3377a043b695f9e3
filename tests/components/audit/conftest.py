"""Cycles on real data, small: with promotions, a limit that some break, stopped trials, a deployed model."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.run import Run

SPEC: dict[str, Any] = {
    "name": "tumour",
    "seed": 3,
    "task": {
        "kind": "tabular",
        "source": {"kind": "builtin", "name": "breast-cancer"},
        "target": "target",
        "sensitive": ["mean radius"],
        "split": {"validation": 0.2, "audit": 0.2, "test": 0.2},
    },
    "search": {
        "space": {"kind": "chain", "max_depth": 2, "widths": [8, 16, 32], "numeric": ["linear"]},
        "strategy": {"kind": "asha", "min_fidelity": 0.25, "eta": 2},
        "stopper": {"kind": "median", "min_trials": 2},
        "estimator": {"kind": "training", "epochs": 4},
        "objectives": [{"metric": "accuracy", "goal": "max"}, {"metric": "params", "goal": "min", "limit": 900}],
        "budget": {"trials": 24},
        "runner": {"kind": "local"},
    },
    "retrain": {"seeds": 2},
    "fairness": {"metric": "accuracy", "min_group": 20, "bootstrap": 100},
}


def cycle(root: Path, spec: dict[str, Any] = SPEC, run: str = "one", until: str = "report") -> Run:
    """Do the steps of a cycle in `root` up to `until`, as its pipeline does them."""
    from components.data_prep.step import main as data_prep
    from components.deploy.step import main as deploy
    from components.drift.step import main as drift
    from components.fairness.step import main as fairness
    from components.report.step import main as report
    from components.retrain.step import main as retrain
    from components.search.step import main as search

    handler = signal.getsignal(signal.SIGTERM)
    drift(str(root), run, yaml.safe_dump(spec), str(root), True)
    for step in (data_prep, search, retrain, fairness, deploy, report):
        step(str(root), run)
        if step.__module__ == f"components.{until}.step":
            break
    signal.signal(signal.SIGTERM, handler)
    return Run.open(root, run)


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the key and the anchors of these tests' runs lie."""
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="session")
def whole(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A cycle up to its deployment; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        _places(patch, own)
        return cycle(tmp_path_factory.mktemp("whole"), until="deploy")


@pytest.fixture(scope="session")
def searched(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same cycle up to its search; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        _places(patch, own)
        return cycle(tmp_path_factory.mktemp("searched"), until="search")


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of further cycles: to make MLflow's tables takes longer than they do."""
    return tmp_path_factory.mktemp("others")


@pytest.fixture(scope="session")
def stopped(own: Path, others: Path) -> Run:
    """A cycle up to its search, in which a stopper ended trials; not to be changed."""
    search = {**SPEC["search"], "strategy": {"kind": "random"}, "budget": {"trials": 8}}
    search["objectives"] = [{"metric": "accuracy", "goal": "max"}]
    with pytest.MonkeyPatch.context() as patch:
        _places(patch, own)
        return cycle(others, {**SPEC, "search": search}, run="two", until="search")


@pytest.fixture(autouse=True)
def own_places(own_key: None, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001  after the usual one
    """The key and the anchors that the cycle was made with."""
    _places(monkeypatch, own)


def _places(patch: pytest.MonkeyPatch, own: Path) -> None:
    patch.setenv("EVERNAS_SIGNING_KEY", str(own / "signing.pem"))
    patch.setenv("EVERNAS_ANCHORS", str(own / "anchors"))
