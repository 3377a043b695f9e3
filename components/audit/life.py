"""What the ledger says of one trial: its proposal, attempts, reports and end, each with its entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nas_core.ledger import Entry
from nas_core.types import Trial


def life_of(number: int, entries: Iterable[Entry], trial: Trial) -> dict[str, Any]:
    """Return the life of trial `number` as JSON values.

    `attempts` are those that ended without an outcome. Every event names its `entry` by number and hash, and its time.
    """
    told: dict[str, Any] = {
        "trial": number,
        "architecture": list(trial.architecture),
        "fidelity": trial.fidelity,
        "status": str(trial.status),
        "proposal": None,
        "attempts": [],
        "reports": [],
        "stopped": None,
        "outcome": None,
    }
    for entry in entries:
        match entry.kind:
            case "proposals":
                _proposal(told, entry, number)
            case "report" if entry.data.get("number") == number:
                told["reports"].append({**_at(entry), **_without(entry.data, "number")})
                if entry.data["stop"]:
                    told["stopped"] = {**_at(entry), "step": entry.data["step"]}
            case "retry" if entry.data["number"] == number:
                told["attempts"].append({**_at(entry), "how": "fault", **_without(entry.data, "number")})
            case "resumed":
                told["attempts"] += [
                    {**_at(entry), "how": "taken over", **_without(each, "number")}
                    for each in entry.data["trials"]
                    if each["number"] == number
                ]
            case "outcome" if entry.data["number"] == number:
                told["outcome"] = {**_at(entry), **_without(entry.data, "number"), "cost_seconds": trial.cost_seconds}
    return told


def _proposal(told: dict[str, Any], entry: Entry, number: int) -> None:
    index = number - entry.data["first"]
    if 0 <= index < len(entry.data["accepted"]):
        proposal = entry.data["accepted"][index]
        together = len(entry.data["accepted"])
        told["proposal"] = {**_at(entry), "parents": proposal["parents"], "why": proposal["why"], "together": together}


def _at(entry: Entry) -> dict[str, Any]:
    return {"entry": entry.seq, "hash": entry.hash, "time": entry.time}


def _without(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}
