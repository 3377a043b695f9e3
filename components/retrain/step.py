"""Retraining as a step of a cycle."""

from __future__ import annotations

from pathlib import Path

from components.retrain.stage import retrain
from components.run import Result, Run
from nas_core.types import Metrics


def main(root: str, run_id: str) -> Result:
    """Do the step for the cycle `run_id`."""
    run = Run.open(Path(root), run_id)
    results = run.results()
    architecture = tuple(results["search"]["architecture"])
    inputs = {"data": results["data_prep"]["digest"], "architecture": architecture}
    return run.step("retrain", inputs, lambda out, _: _retrain(run, architecture, out))


def _retrain(run: Run, architecture: tuple[int, ...], out: Path) -> Result:
    first = run.spec.search.objectives[0].metric
    done = 0

    def progress(seed: int, epoch: int, metrics: Metrics) -> None:
        nonlocal done
        done += 1
        total = epochs * run.spec.retrain.seeds if (epochs := _epochs(run)) else None
        run.progress.advance("retrain", done, total, f"seed {seed + 1} epoch {epoch}: {first} {metrics[first]:.5g}")

    return retrain(run.spec, architecture, run.folder / "data_prep", out, progress)


def _epochs(run: Run) -> int | None:
    """Return the epochs of one seed, if the estimator says so in the spec; for the bar only."""
    options = {**run.spec.search.estimator.options, **run.spec.retrain.options}
    epochs = options.get("epochs")
    return epochs if isinstance(epochs, int) else None
