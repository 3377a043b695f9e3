"""Retraining as a step of a cycle."""

from __future__ import annotations

from pathlib import Path

from components import parts
from components.retrain.stage import retrain
from components.run import Result, Run
from components.spec import Spec
from nas_core import registry
from nas_core.types import Metrics


def main(root: str, run_id: str) -> Result:
    """Do the step for the cycle `run_id`."""
    run = Run.open(root, run_id)
    results = run.results()
    architecture = tuple(results["search"]["architecture"])
    inputs = {"data": results["data_prep"]["digest"], "architecture": architecture}
    return run.step("retrain", inputs, lambda out, _: _retrain(run, architecture, out), reads=("data_prep",))


def _retrain(run: Run, architecture: tuple[int, ...], out: Path) -> Result:
    first, epochs = run.spec.search.objectives[0].metric, _epochs(run.spec)
    total = epochs and epochs * run.spec.retrain.seeds
    done = 0

    def progress(seed: int, epoch: int, metrics: Metrics) -> None:
        nonlocal done
        done += 1
        standing = f": {first} {metrics[first]:.5g}" if first in metrics else ""
        run.progress.advance("retrain", done, total, f"seed {seed + 1} epoch {epoch}{standing}")

    return retrain(parts.grounded(run.spec, run.base), architecture, run.folder / "data_prep", out, progress)


def _epochs(spec: Spec) -> int | None:
    """Return the epochs of one seed, if the estimator has such an option; for the bar only."""
    part, _ = parts.trainer(spec)
    options = {option.name: option.default for option in registry.options(registry.load("estimators", part.kind))}
    epochs = {**options, **part.options}.get("epochs")
    return epochs if isinstance(epochs, int) else None
