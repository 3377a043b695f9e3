from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.report.summary import summarise

from .conftest import Record


def summary_of(record: Record, page: Path | None = None) -> dict[str, Any]:
    return summarise(record.ledger.entries(), record.spec, page)


def shape(value: Any) -> Any:
    """Return the keys of a summary, nested; an error is null or whole, attributes of the audit are data."""
    open_ended = ("fairness", "error")
    return {k: None if k in open_ended else shape(v) for k, v in value.items()} if isinstance(value, dict) else None


def test_no_key_is_ever_missing(record: Record, cycle: Record) -> None:
    nothing = shape(summary_of(record))
    whole = shape(summary_of(cycle.deploy()))
    assert nothing == whole
    assert list(nothing["champion"]["test_accuracy"]) == ["mean", "std", "seeds"]
    assert list(nothing["seconds"]) == ["drift", "data_prep", "search", "retrain", "fairness", "deploy", "total"]


def test_what_does_not_exist_is_null(record: Record) -> None:
    summary = summary_of(record.begin().drift())
    assert summary["champion"]["architecture"] is summary["champion"]["test_accuracy"]["mean"] is None
    assert summary["fairness_verdict"] is summary["seconds"]["search"] is summary["report"] is None
    assert summary["fairness"] == {}


def test_a_whole_cycle_in_figures(cycle: Record) -> None:
    cycle.deploy()
    summary = summary_of(cycle, Path("runs/tumour-1/report.html"))
    entries = list(cycle.ledger.entries())
    results = {entry.data["stage"]: entry.data["result"] for entry in entries if entry.kind == "stage"}
    assert summary["run"] == "tumour-1"
    assert summary["name"] == "tumour"
    assert summary["candidates"] == 8
    assert summary["champion"]["architecture"] == results["search"]["decisions"]
    assert summary["champion"]["architecture_id"] == results["search"]["architecture_id"]
    assert summary["champion"]["test_accuracy"] == results["retrain"]["test_accuracy"]
    assert summary["champion"]["params"] == results["retrain"]["params"]
    assert (summary["champion"]["latency_ms"], summary["champion"]["size_mb"]) == (0.08, 0.125)
    assert summary["baseline"] == results["retrain"]["baseline"]
    assert summary["fairness"] == {"mean radius": results["fairness"]["attributes"]["mean radius"]["verdict"]}
    assert summary["ledger"] == {"entries": len(entries), "head": entries[-1].hash}
    assert summary["report"] == "runs/tumour-1/report.html"
    assert summary["seconds"]["search"] == 1.5
    assert summary["error"] is None


def test_figures_keep_all_their_digits(cycle: Record) -> None:
    summary = summary_of(cycle)
    assert json.loads(json.dumps(summary)) == summary


@pytest.mark.parametrize(("decision", "code"), [("promoted", 0), ("kept", 0), ("blocked", 3)])
def test_the_decision_is_the_deployments(cycle: Record, decision: str, code: int) -> None:
    summary = summary_of(cycle.deploy(decision, reason="because"))
    assert (summary["decision"], summary["reason"], summary["exit_code"]) == (decision, "because", code)


def test_no_drift_is_the_end_of_it(record: Record) -> None:
    summary = summary_of(record.begin().drift(go=False))
    assert (summary["decision"], summary["exit_code"]) == ("no drift", 0)
    assert summary["reason"] == "no drift: the champion stays"


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_a_failure_has_its_stage_code_and_message(record: Record, code: int) -> None:
    failure = {"stage": "search", "code": code, "message": "no candidate is within the limits"}
    record.begin().drift().ledger.append("failure", failure)
    summary = summary_of(record)
    assert (summary["decision"], summary["exit_code"], summary["error"]) == ("failed", code, failure)
    assert summary["reason"] == "architecture search: no candidate is within the limits"


@pytest.mark.parametrize(("number", "name", "code"), [(2, "SIGINT", 130), (15, "SIGTERM", 143)])
def test_a_signal_interrupts(record: Record, number: int, name: str, code: int) -> None:
    record.begin().drift().ledger.append("interrupted", {"signal": number})
    summary = summary_of(record)
    assert (summary["decision"], summary["exit_code"]) == ("interrupted", code)
    assert summary["reason"] == f"ended by {name} after drift check"
    assert "evernas resume tumour-1" in summary["next"]


def test_a_record_that_just_stops_is_a_failure_of_the_stage_it_was_in(record: Record) -> None:
    summary = summary_of(record.begin().drift())
    assert (summary["decision"], summary["exit_code"]) == ("failed", 1)
    assert summary["error"]["stage"] == "data_prep"


@pytest.mark.parametrize(
    ("kind", "data"), [("interrupted", {"signal": 2}), ("failure", {"stage": "report", "code": 4, "message": "full"})]
)
def test_a_decision_stands_whatever_happened_afterwards(cycle: Record, kind: str, data: dict[str, Any]) -> None:
    cycle.deploy("promoted").ledger.append(kind, data)
    assert summary_of(cycle)["decision"] == "promoted"


def test_a_run_that_recorded_nothing_is_named_after_its_folder(record: Record) -> None:
    assert summary_of(record, record.folder / "report.html")["run"] == "tumour-1"
