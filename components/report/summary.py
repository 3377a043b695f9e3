"""A cycle in one small JSON object: what was decided, why, and the figures that it rests on."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from components.report.cycle import STAGES, Cycle, read
from components.spec import Spec
from nas_core.ledger import Entry

_EXIT_BLOCKED = 3


class Ending(NamedTuple):
    """How the cycle ended, why, what that means for the one who called, and what to do next."""

    decision: str
    reason: str
    exit_code: int
    error: dict[str, Any] | None
    next: str


def summarise(entries: Iterable[Entry], spec: Spec, page: Path | None = None) -> dict[str, Any]:
    """Return the summary of the cycle that `entries` tell of; `page` is where its report lies.

    Shares are of 1, times in seconds unless a name says otherwise. All keys are always there; what does not exist, or
    not yet, is null. `champion` is this cycle's best architecture, whether or not it was promoted. `ledger` tells how
    far the record was when it was read.
    """
    cycle = read(entries)
    search, retrain, deploy = (cycle.result(stage) for stage in ("search", "retrain", "deploy"))
    fairness = cycle.result("fairness")
    latency = deploy.get("latency_ms") or {}
    run = cycle.about.get("run") or (page.parent.name if page else None)
    ending = end_of(cycle, spec, run)
    return {
        "run": run,
        "name": spec.name,
        "decision": ending.decision,
        "reason": ending.reason,
        "next": ending.next,
        "candidates": cycle.candidates,
        "spent": search.get("spent"),
        "champion": {
            "architecture": search.get("decisions"),
            "architecture_id": search.get("architecture_id"),
            "chosen": (search.get("choice") or {}).get("text"),
            "test_accuracy": _some(retrain.get("test_accuracy"), "mean", "std", "seeds"),
            "params": retrain.get("params"),
            "latency_ms": latency.get("median"),
            "latency_p95_ms": latency.get("p95"),
            "size_mb": deploy.get("size_mb"),
        },
        "baseline": _some(retrain.get("baseline"), "name", "test_accuracy"),
        "fairness": {name: each["verdict"] for name, each in fairness.get("attributes", {}).items()},
        "fairness_verdict": fairness.get("verdict"),
        "ledger": {"entries": cycle.head.seq + 1, "head": cycle.head.hash},
        "report": None if page is None else str(page),
        "seconds": {**{stage: cycle.seconds.get(stage) for stage in STAGES}, "total": cycle.total_seconds},
        "error": ending.error,
        "exit_code": ending.exit_code,
    }


def end_of(cycle: Cycle, spec: Spec, run: str | None) -> Ending:
    """Return how the cycle `run` ended. A decision that was recorded stands, whatever happened afterwards."""
    deploy, drift, halt = cycle.result("deploy"), cycle.result("drift"), cycle.halt
    if deploy:
        return _decided(deploy, spec)
    if drift and not drift["go"]:
        return Ending("no drift", drift["why"], 0, None, "Nothing to do. `evernas run SPEC --force` searches anyway.")
    again = f"`evernas resume {run}` goes on: what is recorded is not done again."
    if halt is None:
        return _failed(_unexplained(cycle), again)
    if halt.kind == "failure":
        return _failed(halt.data, again)
    number = halt.data["signal"]
    reason = f"ended by {signal.Signals(number).name} {_where(cycle)}"
    return Ending("interrupted", reason, 128 + number, None, again)


def _decided(deploy: Mapping[str, Any], spec: Spec) -> Ending:
    decision, reason, serve = deploy["decision"], deploy["reason"], f"`evernas serve {spec.name}`"
    if decision == "promoted":
        return Ending(decision, reason, 0, None, f"Serve it: {serve}")
    if decision == "kept":
        return Ending(decision, reason, 0, None, f"Nothing to do; the champion stays: {serve}")
    advice = "The deployment is as it was. Search longer, or change the limits in the spec."
    return Ending(decision, reason, _EXIT_BLOCKED, None, advice)


def _failed(error: Mapping[str, Any], again: str) -> Ending:
    stage, code, message = error["stage"], error["code"], error["message"]
    advice = {
        2: "Correct what is named above, and run it anew.",
        3: "Loosen the limits in the spec, or give the search a larger budget.",
        4: f"When what is named above answers again, {again}",
        5: "Find what was changed: `evernas audit verify` names it.",
    }.get(code, f"See `pipeline.log` in the run's folder; then {again}")
    reason = f"{STAGES.get(stage, stage)}: {message}"
    return Ending("failed", reason, code, {"stage": stage, "code": code, "message": message}, advice)


def _unexplained(cycle: Cycle) -> dict[str, Any]:
    """Return the error of a cycle whose record just stops."""
    stage = next((stage for stage in STAGES if stage not in cycle.results), None)
    return {"stage": stage, "code": 1, "message": f"the record stops {_where(cycle)}; the process ended without a word"}


def _where(cycle: Cycle) -> str:
    done = [title for stage, title in STAGES.items() if stage in cycle.results]
    return f"after {done[-1]}" if done else "before any stage was done"


def _some(given: Mapping[str, Any] | None, *names: str) -> dict[str, Any]:
    return {name: (given or {}).get(name) for name in names}
