"""The report as the last step of a cycle, however that ended: it closes the record and brings MLflow up to date."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from components.backends.mirror import mirror
from components.report.stage import report
from components.report.summary import summarise
from components.run import Run
from nas_core.ledger import Ledger

_STATUS = {"failed": "FAILED", "interrupted": "KILLED"}


def main(root: str, run_id: str, interrupted: int | None = None) -> tuple[dict[str, Any], Path]:
    """Close the cycle `run_id`, which the signal `interrupted` has ended, if any; return its summary and its page."""
    run = Run.open(Path(root), run_id)
    started = time.monotonic()
    run.progress.begin("report")
    if not run.closed:
        _close(run, interrupted)
    summary = report(run.folder, run.spec)
    with run.tolerating("report"):
        _mirror(run, summary)
    run.progress.end("report", time.monotonic() - started)
    return summary, run.folder / "report.html"


def _close(run: Run, interrupted: int | None) -> None:
    """Put the end on record, so that everybody who reads it later reads the same."""
    ledger = run.ledger()
    if interrupted is not None:
        ledger.append("interrupted", {"signal": interrupted})
    summary = summarise(ledger.entries(), run.spec)
    ledger.append("end", {"decision": summary["decision"], "exit_code": summary["exit_code"]})


def _mirror(run: Run, summary: dict[str, Any]) -> None:
    """Bring MLflow up to the ledger: every candidate, the cycle's own figures, its files, its end."""
    tracker, folder = run.tracker, run.folder
    if (folder / "data_prep" / "schema.json").exists():
        mirror(tracker, Ledger(run.store).entries(), run.names)
    tracker.describe(
        params={"spec_digest": run.spec_digest, "seed": run.spec.seed, **(summary["champion"]["architecture"] or {})},
        tags={
            "evernas.decision": summary["decision"],
            "evernas.reason": summary["reason"],
            "evernas.ledger_seq": summary["ledger"]["entries"] - 1,
            "evernas.ledger_hash": summary["ledger"]["head"],
            **{f"evernas.fairness.{name}": verdict for name, verdict in summary["fairness"].items()},
        },
    )
    tracker.measure(_figures(summary), at=run.began)
    tracker.files([folder / "spec.yaml", folder / "report.html", folder / "summary.json"])
    tracker.files(sorted((folder / "figures").glob("*.png")), "figures")
    tracker.close(_STATUS.get(summary["decision"], "FINISHED"))


def _figures(summary: dict[str, Any]) -> dict[str, float]:
    champion, accuracy = summary["champion"], summary["champion"]["test_accuracy"]
    figures = {
        "candidates": summary["candidates"],
        "test_accuracy_mean": accuracy["mean"],
        "test_accuracy_std": accuracy["std"],
        "baseline_test_accuracy": summary["baseline"]["test_accuracy"],
        **{name: champion[name] for name in ("params", "latency_ms", "size_mb")},
        **{f"seconds_{name}": value for name, value in summary["seconds"].items()},
    }
    return {name: value for name, value in figures.items() if value is not None}
