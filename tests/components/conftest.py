"""Real data, prepared, and a cycle whose steps have been done, for the tests of stages and steps."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.data_prep.stage import prepare
from components.run import Run
from components.spec import Spec
from components.spec_file import parse_spec

TUMOUR: dict[str, Any] = {
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
        "space": {"kind": "chain", "max_depth": 2, "widths": [8, 16], "numeric": ["linear"]},
        "strategy": {"kind": "random"},
        "estimator": {"kind": "training", "epochs": 2},
        "objectives": [{"metric": "accuracy", "goal": "max"}],
        "budget": {"trials": 4},
        "runner": {"kind": "local"},
    },
    "retrain": {"seeds": 2},
    "fairness": {"metric": "accuracy", "min_group": 20, "bootstrap": 100},
}


@pytest.fixture(scope="session")
def tumour() -> Callable[..., Spec]:
    """Return a spec for a small search on real data; keywords replace keys of `search`."""

    def spec(**search: Any) -> Spec:
        return parse_spec(yaml.safe_dump({**TUMOUR, "search": {**TUMOUR["search"], **search}}), "spec.yaml")

    return spec


@pytest.fixture(scope="session")
def tumour_document() -> dict[str, Any]:
    """The same spec as a document."""
    return TUMOUR


@pytest.fixture(scope="session")
def prepared(tumour: Callable[..., Spec], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its data, prepared; not to be changed."""
    folder = tmp_path_factory.mktemp("prepared")
    spec = tumour()
    prepare(spec.task, spec.seed, folder, folder)
    return folder


@pytest.fixture(scope="session")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A cycle after the steps up to the fairness audit, done as its pipeline does them; not to be changed."""
    from components.data_prep.step import main as data_prep
    from components.drift.step import main as drift
    from components.fairness.step import main as fairness
    from components.retrain.step import main as retrain
    from components.search.step import main as search

    root = tmp_path_factory.mktemp("stepped")
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERNAS_SIGNING_KEY", str(root / "signing.pem"))
        patch.setenv("EVERNAS_ANCHORS", str(root / "anchors"))
        assert drift(str(root), "one", yaml.safe_dump(TUMOUR), str(root), False) == "search"
        for step in (data_prep, search, retrain, fairness):
            step(str(root), "one")
    signal.signal(signal.SIGTERM, handler)
    return Run.open(root, "one")
