"""Real learning curves to replay: architectures trained in full, each once, kept in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from components import parts
from components.data_prep.stage import prepare
from components.prepared import Prepared
from components.spec_file import parse_spec
from nas_core import space as algebra
from nas_core.interfaces import Rung
from nas_core.ledger import Ledger
from nas_core.runner import LocalRunner
from nas_core.store import FolderStore
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.types import Architecture, Budget, Metrics

SPECS: Mapping[str, str] = {
    "fashion": """
        name: fashion
        task:
          kind: image
          source: {kind: builtin, name: fashion-mnist}
          target: label
          size: 14
          split: {test: {column: split, value: test}, validation: 0.34, audit: 0.01}
        search:
          space: {kind: nas-bench-201, channels: 8, cells: 1}
          estimator: {kind: training, epochs: 20, batch_size: 64, learning_rate: 0.005}
          objectives: [{metric: accuracy, goal: max}]
          budget: {trials: 60}
    """,
    "adult": """
        name: adult
        task:
          kind: tabular
          source: {kind: builtin, name: adult}
          target: income
          split: {test: 0.5, validation: 0.25, audit: 0.05}
        search:
          space: {kind: chain, max_depth: 3}
          estimator: {kind: training, epochs: 20, batch_size: 128, learning_rate: 0.003}
          objectives: [{metric: accuracy, goal: max}]
          budget: {trials: 60}
    """,
}
"""What is trained: cells on small pictures of clothing, perceptrons on the census, 20 epochs each."""


@dataclass(frozen=True)
class Trained:
    """An architecture and its metrics after each epoch."""

    architecture: Architecture
    curve: tuple[Metrics, ...]


def spec_text(name: str, *, trials: int | None = None, epochs: int | None = None) -> str:
    """Return the spec called `name`, with other numbers of trials and epochs if given."""
    text = SPECS[name]
    if trials is not None:
        text = text.replace("trials: 60", f"trials: {trials}")
    return text if epochs is None else text.replace("epochs: 20", f"epochs: {epochs}")


def trained(text: str, folder: Path) -> list[Trained]:
    """Return the curves of randomly drawn architectures of the spec `text`.

    They are trained once, and their ledger is kept in `folder`: a second call only reads, one that was interrupted
    goes on. What failed is left out.
    """
    spec = parse_spec(text, "spec.yaml")
    home = folder / f"{spec.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="evernas-") as scratch:
        prepare(spec.task, spec.seed, Path(), Path(scratch))
        prepared = Prepared.load(Path(scratch))
        space = parts.build_space(spec, prepared.signature)
        task = prepared.task("train", "validation", **spec.task.augmentation)
        objectives = parts.objectives(spec)
        study = LedgerStudy(Ledger(FolderStore(home)), space, objectives, Random(space, objectives, spec.seed))
        rungs = [Rung(1.0, parts.build_estimator(spec, space, task))]
        LocalRunner(home / "checkpoints").run(study, rungs, Budget(trials=spec.search.budget.trials))
    return [
        Trained(algebra.canonical(space, trial.architecture), tuple(metrics for _, metrics in trial.curve))
        for trial in study.history
        if trial.status == "ok"
    ]


def figures(curves: Iterable[Trained], metric: str) -> np.ndarray:
    """Return `metric` as an array (architectures, epochs)."""
    return np.array([[metrics[metric] for metrics in each.curve] for each in curves])


def save(curves: Iterable[Trained], path: Path) -> None:
    """Write the curves as JSON."""
    data: list[dict[str, Any]] = [{"architecture": c.architecture, "curve": [dict(m) for m in c.curve]} for c in curves]
    path.write_text(json.dumps(data), encoding="utf-8")
