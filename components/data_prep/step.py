"""Data preparation as a step of a cycle."""

from __future__ import annotations

from components.data_prep.stage import prepare
from components.run import Result, Run


def main(root: str, run_id: str) -> Result:
    """Do the step for the cycle `run_id`."""
    run = Run.open(root, run_id)
    task, seed, base = run.spec.task, run.spec.seed, run.base
    inputs = {"source": run.results()["drift"]["source"]}
    result = run.step("data_prep", inputs, lambda out, _: prepare(task, seed, base, out), reads=())
    with run.tolerating("data_prep"):
        run.tracker.dataset(run.spec.name, result["digest"], run.spec.task.source.model_dump_json(), result["rows"])
    return result
