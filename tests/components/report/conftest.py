"""A small but real cycle on real data, recorded as a cycle is; and a record to write others by hand."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from components.data_prep.stage import prepare
from components.fairness.stage import audit
from components.retrain.stage import retrain
from components.search.stage import search
from components.spec import Spec
from components.spec_file import parse_spec
from nas_core.ledger import Ledger
from nas_core.store import FolderStore

SPEC = """
name: tumour
seed: 3
task:
  kind: tabular
  source: {kind: builtin, name: breast-cancer}
  target: target
  sensitive: [mean radius]
  split: {validation: 0.2, audit: 0.2, test: 0.2}
search:
  space: {kind: chain, max_depth: 2, widths: [8, 16], numeric: [linear]}
  strategy: {kind: random}
  estimator: {kind: training, epochs: 2}
  objectives:
    - {metric: accuracy, goal: max}
    - {metric: params, goal: min, limit: 600}
  budget: {trials: 8}
  runner: {kind: local}
retrain: {seeds: 2}
fairness: {metric: accuracy, min_group: 20, bins: [{column: mean radius, edges: [13.5]}]}
"""


class Record:
    """A cycle's folder and its ledger, to be written as the steps of a cycle write it."""

    def __init__(self, folder: Path, spec: str = SPEC) -> None:
        self.folder = folder
        self.spec: Spec = parse_spec(spec, "spec.yaml")
        self.ledger = Ledger(FolderStore(folder))

    def begin(self, run: str = "tumour-1", **more: Any) -> Record:
        self.ledger.append(
            "cycle",
            {
                "run": run,
                "spec": SPEC,
                "spec_digest": hashlib.sha256(SPEC.encode()).hexdigest(),
                "seed": self.spec.seed,
                "forced": False,
                "environment": {"evernas": "0.1.0", "python": "3.11.9"},
                "previous": None,
                **more,
            },
        )
        return self

    def stage(self, name: str, result: Mapping[str, Any], seconds: float = 1.5) -> Record:
        paths = sorted(path for path in (self.folder / name).rglob("*") if path.is_file())
        files = {str(p.relative_to(self.folder / name)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}
        data = {"stage": name, "inputs": "0" * 64, "result": dict(result), "files": files, "seconds": seconds}
        self.ledger.append("stage", data)
        return self

    def drift(self, *, go: bool = True, **more: Any) -> Record:
        verdict = "no champion" if go else "no drift"
        why = "there is no champion yet" if go else "no drift: the champion stays"
        return self.stage(
            "drift", {"go": go, "why": why, "verdict": verdict, "source": "ab" * 32, "columns": [], **more}
        )

    def deploy(self, decision: str = "promoted", **more: Any) -> Record:
        held = decision != "blocked"
        gates = [
            {"gate": "parity", "passed": True, "value": 1.2e-7, "limit": 1e-4, "text": "as torch on 114 rows"},
            {
                "gate": "latency",
                "passed": held,
                "value": 0.08,
                "limit": 5.0 if held else 0.05,
                "text": "0.080 ms a row",
            },
        ]
        result = {
            "decision": decision,
            "reason": "accuracy is 0.3 better than the classes' shares alone",
            "gates": gates,
            "digest": "cd" * 32,
            "bundle": "deploy/bundle",
            "size_mb": 0.125,
            "latency_ms": {"median": 0.08, "p95": 0.1},
            "parity_error": 1.2e-7,
            "comparison": None,
        }
        return self.stage("deploy", {**result, **more})


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real cycle up to the deployment, which is not in it."""
    folder = tmp_path_factory.mktemp("cycle") / "tumour-1"
    record = Record(folder).begin().drift()
    spec, data = record.spec, folder / "data_prep"
    record.stage("data_prep", prepare(spec.task, spec.seed, folder, data))
    found = search(spec, data, record.ledger, folder / "search", name="tumour-1", on_trial=lambda _study, _trial: None)
    record.stage("search", found)
    trained = retrain(spec, tuple(found["architecture"]), data, folder / "retrain", lambda *_: None)
    record.stage("retrain", trained)
    model = folder / "retrain" / trained["model"]
    record.stage("fairness", audit(spec.fairness, data, model, spec.seed, folder / "fairness"))
    return folder


@pytest.fixture
def cycle(whole: Path, tmp_path: Path) -> Record:
    """A copy of the real cycle, to go on with."""
    return Record(Path(shutil.copytree(whole, tmp_path / "tumour-1")))


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """The empty folder of a cycle."""
    return Record(tmp_path / "tumour-1")


@pytest.fixture
def summary_of() -> Callable[[Record], dict[str, Any]]:
    """Return what summarises a record."""
    from components.report.summary import summarise

    return lambda record: summarise(record.ledger.entries(), record.spec)
