"""A small run that was really made, and what somebody could do to its record who may write to it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from components.backends.signing import Ed25519Signer, load_signer
from components.run import Run
from nas_core.chain import write_line, write_seal
from nas_core.interfaces import Rung, Session
from nas_core.ledger import Ledger
from nas_core.runner import LocalRunner
from nas_core.study import LedgerStudy
from nas_core.types import Budget, Decision, Metrics, Objective, Proposal, Trial

SPEC: dict[str, Any] = {
    "name": "tiny",
    "task": {"kind": "tabular", "source": {"kind": "builtin", "name": "breast-cancer"}, "target": "target"},
    "search": {
        "space": {"kind": "chain"},
        "objectives": [{"metric": "accuracy", "goal": "max"}],
        "budget": {"trials": 3},
        "runner": {"kind": "local"},
    },
}


class _Space:
    decisions = (Decision(name="width", options=("8", "16", "32", "64")),)

    def build(self, architecture: Sequence[int]) -> Any:
        raise RuntimeError(f"there is no network for {architecture}")


class _InTurn:
    def propose(self, history: Sequence[Trial], n: int) -> list[Proposal]:
        return [Proposal(architecture=(len(history),))][:n] if len(history) < 3 else []


class _Estimator:
    def estimate(self, trial: Trial, session: Session) -> Metrics:
        metrics = {"accuracy": 0.5 + trial.architecture[0] / 10}
        session.report(1, metrics)
        return metrics


def small_run(root: Path) -> Run:
    """Make a run with a search of three trials and a file, its ledger partly merged, its heads anchored."""
    run = Run.create(root, "small", yaml.safe_dump(SPEC), root)
    run.begin()

    def prepare(out: Path, _: Ledger) -> dict[str, Any]:
        (out / "profile.json").write_text('{"rows": 3}')
        return {"digest": "d" * 64, "rows": {"train": 3}, "source": "s" * 64, "target": "target", "sensitive": []}

    def search(out: Path, ledger: Ledger) -> dict[str, Any]:
        study = LedgerStudy(ledger, _Space(), [Objective(metric="accuracy", goal="max")], _InTurn())
        LocalRunner(out).run(study, [Rung(1.0, _Estimator())], Budget(trials=3))
        (out / "notes.txt").write_text("none")
        return {"trial": 2, "architecture": [2], "architecture_id": "abcd" * 4, "decisions": {"width": "32"}}

    run.step("data_prep", {}, prepare)
    run.step("search", {}, search)
    return run


def copy_of(run: Run, anchors: Path, to: Path) -> tuple[Path, Path]:
    """Copy the run's folder, and the anchors, into `to`; return both."""
    return Path(shutil.copytree(run.folder, to / run.id)), Path(shutil.copytree(anchors, to / "anchors"))


def objects(folder: Path) -> list[Path]:
    """The ledger's objects, in the order of their lines; an export has all in one."""
    if (whole := folder / "ledger.jsonl").exists():
        return [whole]
    return sorted((folder / "ledger").rglob("*.jsonl"), key=lambda path: int(path.stem.split("-")[0]))


def lines(folder: Path) -> list[str]:
    """All lines of the ledger."""
    return [line for path in objects(folder) for line in path.read_text().splitlines()]


def forge(folder: Path, change: Callable[[dict[str, Any]], None], seals: Ed25519Signer | None, first: int = 0) -> int:
    """Change entries from `first` on, chain all lines anew, and seal them by `seals`; return the first that changed.

    Without a key the old signatures stay, since nobody can make new ones.
    """
    prev, changed, position = "0" * 64, -1, 0
    for path in objects(folder):
        made = []
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if entry["kind"] == "seal" and seals:
                text, new = write_seal(seals, position, prev, entry["time"])
            elif entry["kind"] == "seal":
                text = re.sub('"prev":"[0-9a-f]{64}"', f'"prev":"{prev}"', line)
                new = None
            else:
                before = json.dumps(entry["data"])
                if position >= first:
                    change(entry)
                if changed < 0 and json.dumps(entry["data"]) != before:
                    changed = position
                text, new = write_line(position, prev, entry["time"], entry["kind"], entry["data"])
            prev = new.hash if new else hashlib.sha256(text.encode()).hexdigest()
            made.append(text)
            position += 1
        path.write_text("".join(f"{line}\n" for line in made))
    assert changed >= 0
    return changed


def better(entry: dict[str, Any]) -> None:
    """Make all that came out look better."""
    if entry["kind"] == "outcome":
        entry["data"]["metrics"]["accuracy"] += 0.1


def own_signer() -> Ed25519Signer:
    """The key of this machine, in the hands of somebody who should not have it."""
    return load_signer()


def spelled_otherwise(signature: str) -> str:
    """The same bytes in base64, spelled in a way that nobody writes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = signature[:85] + alphabet[alphabet.index(signature[85]) ^ 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(signature)
    return other
