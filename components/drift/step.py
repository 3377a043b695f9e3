"""The drift check as the first step of a cycle: it begins the record and says whether there is reason to go on."""

from __future__ import annotations

from pathlib import Path

from components.bundle import PROFILE
from components.champion import bundle_folder, champion
from components.drift.stage import check
from components.run import Result, Run
from components.sources import fingerprint, read


def main(root: str, run_id: str, spec: str, base: str, force: bool) -> str:
    """Begin the cycle `run_id`, unless that was done, and return `search` or `stop`."""
    run = Run.create(root, run_id, spec, Path(base), forced=force)
    run.begin()
    return "search" if run.step("drift", {}, lambda _, __: _drift(run), reads=())["go"] else "stop"


def _drift(run: Run) -> Result:
    task, config = run.spec.task, run.spec.drift
    source = read(task.source, run.base)
    champions = run.champions
    deployed = champion(champions)
    if deployed is None:
        found: Result = {"verdict": "no champion", "columns": [], "drifted": []}
    else:
        window = source if config.source is None else read(config.source, run.base)
        found = check(config, bundle_folder(champions, deployed.digest) / PROFILE, window, run.spec.seed)
    why = _why(run, found)
    return {
        "go": why is not None,
        "why": why or f"{found['verdict']}: the champion stays",
        "source": fingerprint(source),
        **found,
    }


def _why(run: Run, found: Result) -> str | None:
    """Return the reason to search, if there is one."""
    if found["verdict"] == "no champion":
        return "there is no champion yet"
    if found["verdict"] == "drift":
        return f"the data has drifted in {', '.join(found['drifted'])}"
    return "the run is forced" if run.forced else None
