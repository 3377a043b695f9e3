"""The report as the last step of a cycle, however that ended: it closes the record and brings MLflow up to date."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.backends.mirror import sync
from components.backends.mlflow_parent import parent_expected
from components.report.stage import report
from components.report.summary import summarise
from components.run import Run
from nas_core.ledger import Ledger
from nas_core.types import Architecture


def main(root: str, run_id: str, interrupted: int | None = None) -> tuple[dict[str, Any], Path]:
    """Close the cycle `run_id`, which the signal `interrupted` has ended, if any; return its summary and its page."""
    run = Run.open(root, run_id)
    started = time.monotonic()
    run.progress.begin("report")
    run.kept.check()
    with run.writing("report") as ledger:
        if not run.closed:
            _close(run, ledger, interrupted)
        run.kept.fetch(("data_prep", "fairness"))
        run.kept.fetch_ledger()
        summary = report(run.folder, run.spec)
        _publish(run, ledger)
        ledger.compact()
    with run.tolerating("report"):
        _mirror(run)
    run.progress.end("report", time.monotonic() - started)
    return summary, run.folder / "report.html"


def _publish(run: Run, ledger: Ledger) -> None:
    """Put on record what the report's files are, unless that is known."""
    found = {name: run.folder / name for name in ("report.html", "spec.yaml", "summary.json")}
    found |= {f"figures/{path.name}": path for path in (run.folder / "figures").glob("*.png")}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(found.items())}
    known = [entry.data["files"] for entry in ledger.entries({"published"})]
    if known[-1:] != [digests]:
        run.kept.send(digests)
        ledger.append("published", {"files": digests})


def _close(run: Run, ledger: Ledger, interrupted: int | None) -> None:
    """Put the end on record, so that everybody who reads it later reads the same."""
    if interrupted is not None:
        ledger.append("interrupted", {"signal": interrupted})
    summary = summarise(ledger.entries(), run.spec)
    ledger.append("end", {"decision": summary["decision"], "exit_code": summary["exit_code"]})


def _mirror(run: Run) -> None:
    """Bring MLflow up to the ledger: every candidate, the cycle's own figures, its files, its end."""
    entries, spec = Ledger(run.store).entries, run.spec
    parent = parent_expected(
        entries, lambda some: summarise(some, spec), name=spec.name, source=spec.task.source.model_dump_json()
    )
    files = {name: run.folder / name for entry in entries({"published"}) for name in entry.data["files"]}

    def names(architecture: Architecture) -> tuple[str, Mapping[str, str]]:
        return run.names(architecture)  # what that needs is there only if something was searched

    sync(run.tracker, entries(), names, parent, files)
