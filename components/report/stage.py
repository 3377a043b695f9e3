"""The stage that tells people and scripts what a cycle came to, however it ended."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components import parts
from components.prepared import Prepared
from components.report import figures
from components.report.cycle import Cycle, read
from components.report.page import Material, render
from components.report.summary import summarise
from components.spec import Spec
from nas_core import space as algebra
from nas_core.errors import InputError, IntegrityError
from nas_core.interfaces import SearchSpace
from nas_core.ledger import Ledger
from nas_core.store import FolderStore
from nas_core.types import Trial

PAGE, SUMMARY, FIGURES = "report.html", "summary.json", "figures"


def report(folder: Path, spec: Spec) -> dict[str, Any]:
    """Write `report.html`, `summary.json` and `figures/*.png` of the cycle in `folder`, and return the summary.

    Everything is read from the cycle's ledger, or from files whose digests are in it; IntegrityError if either was
    changed. Each file is replaced in one step. The same record gives the same files.
    """
    store = FolderStore(folder)
    entries = list(Ledger(store).entries())
    cycle, summary = read(entries), summarise(entries, spec, folder / PAGE)
    objectives = parts.objectives(spec)
    audit = _audit(folder, cycle)
    drawn = figures.draw(cycle, objectives, audit)
    page = render(Material(cycle, summary, objectives, _describe(folder, spec), audit, drawn))
    figures.save_figures(drawn, folder / FIGURES)
    store.replace(PAGE, page.encode())
    store.replace(SUMMARY, json.dumps(summary, indent=1).encode())
    return summary


def _audit(folder: Path, cycle: Cycle) -> Mapping[str, Any] | None:
    """Return what the audit wrote down of all groups; None if it has not been done."""
    recorded = cycle.files.get("fairness", {}).get("fairness.json")
    if recorded is None:
        return None
    path = folder / "fairness" / "fairness.json"
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != recorded:
        raise IntegrityError(f"{path}: is missing or was changed after the audit; what it holds is no record any more")
    audit: Mapping[str, Any] = json.loads(content)
    return audit


def _describe(folder: Path, spec: Spec) -> Callable[[Trial], tuple[str, Mapping[str, str]]]:
    """Return what gives a trial's identity and decisions by name; by number, where the space cannot be had."""
    try:
        space: SearchSpace = parts.build_space(spec, Prepared.load(folder / "data_prep").signature)
    except InputError:
        return lambda trial: ("", {f"decision {i}": str(option) for i, option in enumerate(trial.architecture)})
    return lambda trial: (
        algebra.canonical_id(space, trial.architecture),
        algebra.describe(space, trial.architecture),
    )
