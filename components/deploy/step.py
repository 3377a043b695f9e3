"""Deployment as a step of a cycle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.deploy.stage import deploy
from components.provenance import environment
from components.run import Result, Run
from nas_core.ledger import Ledger


def main(root: str, run_id: str) -> Result:
    """Do the step for the cycle `run_id`."""
    run = Run.open(root, run_id)
    results = run.results()
    inputs = {"data": results["data_prep"]["digest"], "model": results["retrain"], "fairness": results["fairness"]}
    reads = ("data_prep", "retrain")
    if waivers := _waivers(Ledger(run.store)):
        inputs["waivers"] = waivers  # what a person let pass is judged anew
    return run.step("deploy", inputs, lambda out, ledger: _deploy(run, results, out, ledger), reads)


def _deploy(run: Run, results: dict[str, Result], out: Path, ledger: Ledger) -> Result:
    return deploy(
        run.spec.deploy,
        name=run.spec.name,
        first_metric=run.spec.search.objectives[0].metric,
        data=run.folder / "data_prep",
        model=run.folder / "retrain" / results["retrain"]["model"],
        run=_facts(run, results, ledger),
        fairness=results["fairness"],
        champions=run.champions,
        out=out,
        before_promotion=lambda digest, previous: ledger.append("promotion", {"digest": digest, "previous": previous}),
        promote=run.deployment.promote,
        waived=_waivers(ledger),
    )


def _waivers(ledger: Ledger) -> dict[str, str]:
    """Return who let which gate be passed over and why, the newest word on each."""
    said = (entry.data for entry in ledger.entries({"waiver"}))
    return {each["gate"]: f"waived by {each['by']}: {each['reason']}" for each in said}


def _facts(run: Run, results: dict[str, Result], ledger: Ledger) -> dict[str, Any]:
    """Return what the bundle says of the cycle that it comes from."""
    trained, found = results["retrain"], results["search"]
    return {
        "id": run.id,
        "spec_digest": run.spec_digest,
        "data_digest": results["data_prep"]["digest"],
        "audited_at": [e.hash for e in ledger.entries({"stage"}) if e.data["stage"] == "fairness"][-1],
        "seed": trained["seeds"][trained["best"]]["seed"],
        "architecture": found["decisions"],
        "architecture_id": found["architecture_id"],
        "candidates": found["candidates"],
        "metrics": {"test accuracy": trained["test_accuracy"]},
        "environment": environment(),
    }
