"""The fairness audit as a step of a cycle."""

from __future__ import annotations

from components.fairness.stage import audit
from components.run import Result, Run


def main(root: str, run_id: str) -> Result:
    """Do the step for the cycle `run_id`."""
    run = Run.open(root, run_id)
    results = run.results()
    inputs = {"data": results["data_prep"]["digest"], "model": results["retrain"]}
    model = run.folder / "retrain" / results["retrain"]["model"]
    return run.step(
        "fairness",
        inputs,
        lambda out, _: audit(run.spec.fairness, run.folder / "data_prep", model, run.spec.seed, out),
        reads=("data_prep", "retrain"),
    )
