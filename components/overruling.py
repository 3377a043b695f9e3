"""What people decide against the pipeline: to withdraw a champion, to let a gate be passed. Both go on record first."""

from __future__ import annotations

import os
from typing import Any

from components.champion import promoter
from components.deploy.gates import WAIVABLE
from components.promotions import deployment
from components.root import Root
from components.run import Run
from nas_core.errors import InputError, unknown


def roll_back(root: Root, name: str, to: str | None, reason: str, by: str | None = None) -> dict[str, Any]:
    """Put an earlier bundle in the place of the champion of `name`, and return what was recorded.

    `to` is the bundle's digest or the begin of it; without it, the one before the champion. The record is an entry
    `rollback` of the run that promoted the champion, written before anything changes. InputError if there is no
    champion, or no such bundle; IntegrityError, and no change, if the bundle is not what it was when it was promoted;
    FencedError if another process changes the champion meanwhile.
    """
    there, said = deployment(root, name), _said(reason, by)
    current = there.champion()
    if current is None:
        raise InputError(f"name: {name!r} has no champion in {root.uri}, so there is nothing to roll back")
    digest = _earlier(there.bundles(), to, current.digest, current.previous)
    there.check_bundle(digest)
    record = {"digest": current.digest, "to": digest, **said}
    with Run.open(root, promoter(current)).writing("deploy") as ledger:
        there.roll_back(current, digest, lambda: ledger.append("rollback", record))
    return {"name": name, "run": promoter(current), **record}


def waive(run: Run, gate: str, reason: str, by: str | None = None) -> dict[str, Any]:
    """Record that the challenger of `run` may pass `gate`, which has stopped it; return the record.

    The run has to be resumed for that to have an effect. InputError for a gate that nobody may waive, or that has not
    stopped this run.
    """
    if gate not in WAIVABLE:
        raise unknown("gate", gate, WAIVABLE)
    said = _said(reason, by)
    deployed = run.results().get("deploy")
    stopped = [each["gate"] for each in deployed["gates"] if not each["passed"]] if deployed else []
    if gate not in stopped:
        told = f"it was stopped by {', '.join(stopped)}" if stopped else "no gate has stopped it"
        raise InputError(f"gate: {gate} has not stopped run {run.id}, {told}; waive what did")
    record = {"gate": gate, **said}
    with run.writing("deploy") as ledger:
        ledger.append("waiver", record)
    return {"run": run.id, **record}


def _said(reason: str, by: str | None) -> dict[str, str]:
    """Return the reason, and who gave it: by default the user of this process."""
    if not reason.strip():
        raise InputError("--reason: must not be empty; say why, for those who read the record later")
    return {"reason": reason.strip(), "by": (by or os.environ.get("USER") or f"uid {os.getuid()}").strip()}


def _earlier(bundles: list[str], to: str | None, current: str, previous: str | None) -> str:
    """Return the digest of the bundle to go back to."""
    others = [digest for digest in bundles if digest != current]
    if to is None:
        if previous is None:
            raise InputError(
                "--to: the champion is the first of its name; "
                + (f"name one of {', '.join(digest[:12] for digest in others)}" if others else "there is no other")
            )
        return previous
    found = [digest for digest in others if digest.startswith(to)]
    if len(found) != 1:
        known = ", ".join(digest[:12] for digest in others) or "none"
        what = "is not the begin of" if not found else f"is the begin of {len(found)}, not of"
        raise InputError(f"--to: {to!r} {what} one bundle that was promoted before; there are {known}")
    return found[0]
