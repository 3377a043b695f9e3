"""The life of one candidate, from its proposal to its deployment, as the record tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components import parts
from components.audit.candidate import describe, read_history
from components.audit.life import life_of
from components.audit.standing import standing
from components.run import Run
from components.spec import Part
from nas_core.errors import InputError
from nas_core.ledger import Entry, Ledger
from nas_core.types import Trial

DECIDED = ("promotion", "rollback", "waiver")
"""The kinds of entries by which a deployment changes, or a gate is passed over."""


def story(run: Run, number: int) -> dict[str, Any]:
    """Return all that the record of `run` says of trial `number`, as JSON values.

    `candidate` is what was tried, `proposed_by` the strategy, `life` the trial's own entries, `parents` where it comes
    from, `standing` how it compares, `choice` by which
    rule and numbers one was chosen, `followed` what was done with it if it was chosen, `data` and `code` what it rests
    on. Events name their ledger entries by number and hash. IntegrityError if the chain is not in order; signatures,
    anchors and files are for `verify_folder`. InputError if there is no such trial of this run.
    """
    entries = list(Ledger(run.store).entries())
    trials = read_history(entries).trials
    if not 0 <= number < len(trials) or trials[number].origin:
        raise InputError(f"trial {number}: run {run.id} has not tried it; it has {len(trials)} trials")
    stages = {entry.data["stage"]: entry for entry in entries if entry.kind == "stage"}
    search = stages["search"].data["result"] if "search" in stages else None
    chosen = search["trial"] if search else None
    trial, spec = trials[number], run.spec.search
    identity, decisions = describe(run, trial.architecture, search)
    return {
        "run": run.id,
        "candidate": {"trial": number, "architecture_id": identity, "decisions": decisions},
        "proposed_by": _part(spec.strategy),
        "stopper": _part(spec.stopper) if spec.stopper else None,
        "estimator": _part(spec.estimator),
        "seed": run.spec.seed,
        "life": life_of(number, entries, trial),
        "parents": [_parent(run, trials[parent], search) for parent in trial.parents],
        "standing": standing(number, trials, parts.objectives(run.spec), chosen),
        "chosen": chosen,
        "choice": _choice(entries),
        "led_to_chosen": chosen is not None and number in _line(trials, chosen),
        "followed": _followed(run, entries, stages) if chosen == number else None,
        "data": _data(run, stages),
        "code": _code(entries, trials[number]),
        "head": {"entry": entries[-1].seq, "hash": entries[-1].hash},
    }


def _choice(entries: Sequence[Entry]) -> dict[str, Any] | None:
    """Return what was recorded of the choice, the last time that one was made."""
    entry = next((entry for entry in reversed(entries) if entry.kind == "choice"), None)
    return entry and {"entry": entry.seq, "hash": entry.hash, "time": entry.time, **entry.data}


def _part(part: Part) -> dict[str, Any]:
    return {"kind": part.kind, "options": part.options}


def _parent(run: Run, parent: Trial, search: Mapping[str, Any] | None) -> dict[str, Any]:
    identity, _ = describe(run, parent.architecture, search)
    return {
        "trial": parent.number,
        "origin": parent.origin,
        "architecture_id": identity,
        "fidelity": parent.fidelity,
        "status": str(parent.status),
        "metrics": None if parent.metrics is None else dict(parent.metrics),
    }


def _line(trials: Sequence[Trial], number: int) -> list[int]:
    """Return the trials that trial `number` continues: its first parents in turn, while the architecture is its own."""
    line: list[int] = []
    trial = trials[number]
    while trial.parents and trials[trial.parents[0]].architecture == trial.architecture:
        trial = trials[trial.parents[0]]
        line.append(trial.number)
    return line


def _followed(run: Run, entries: Sequence[Entry], stages: Mapping[str, Entry]) -> dict[str, Any]:
    """Return what the later stages made of the chosen candidate, those that were done."""
    found: dict[str, Any] = dict.fromkeys(("retrain", "fairness", "deploy"))
    for name in found:
        if name in stages:
            entry = stages[name]
            found[name] = {"entry": entry.seq, "hash": entry.hash, "time": entry.time, **entry.data["result"]}
    found["decisions"] = [
        {"entry": entry.seq, "hash": entry.hash, "time": entry.time, "kind": entry.kind, **entry.data}
        for entry in entries
        if entry.kind in DECIDED
    ]
    found["failures"] = [
        {"entry": entry.seq, "hash": entry.hash, "time": entry.time, "kind": entry.kind, **entry.data}
        for entry in entries
        if entry.kind in ("failure", "interrupted")
    ]
    deployed = run.deployment.champion()
    digest = found["deploy"] and found["deploy"]["digest"]
    found["champion_now"] = None if deployed is None else {"digest": deployed.digest, "run": deployed.run}
    found["is_champion"] = deployed is not None and deployed.digest == digest
    return found


def _data(run: Run, stages: Mapping[str, Entry]) -> dict[str, Any] | None:
    """Return what data the trial was given: the source as the spec names it, its digest, and the prepared rows."""
    if "data_prep" not in stages:
        return None
    entry = stages["data_prep"]
    result = entry.data["result"]
    kept = {name: result[name] for name in ("digest", "source", "rows", "target", "sensitive")}
    source = run.spec.task.source.model_dump(mode="json")
    return {"entry": entry.seq, "hash": entry.hash, "task": run.spec.task.kind, "from": source, **kept}


def _code(entries: Sequence[Entry], trial: Trial) -> dict[str, Any]:
    """Return with what the trial was run: the newest environment before its end, and the entry that recorded it."""
    found: dict[str, Any] = {}
    for entry in entries:
        if entry.kind in ("cycle", "continued"):
            found = {"entry": entry.seq, "hash": entry.hash, "environment": entry.data["environment"]}
        if entry.kind == "outcome" and entry.data["number"] == trial.number:
            break
    return found
