"""The search as a step of a cycle: recorded, mirrored to MLflow while it runs, resumed if it was interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from components import parts
from components.backends.mirror import Mirror
from components.run import Result, Run
from components.search.stage import search
from nas_core import objectives as order
from nas_core.ledger import Ledger
from nas_core.study import LedgerStudy
from nas_core.types import Objective, Status, Trial


def main(root: str, run_id: str) -> Result:
    """Do the step for the cycle `run_id`."""
    signal.signal(signal.SIGTERM, _leave)
    run = Run.open(Path(root), run_id)
    data = run.results()["data_prep"]["digest"]
    return run.step("search", {"data": data}, lambda out, ledger: _search(run, ledger, out))


def _search(run: Run, ledger: Ledger, out: Path) -> Result:
    total = run.spec.search.budget.trials
    objectives = parts.objectives(run.spec)

    def progress(study: LedgerStudy, trial: Trial) -> None:
        if trial.status is not Status.PENDING:
            mirror.wake()
            done = sum(t.status is not Status.PENDING for t in study.history)
            run.progress.advance("search", done, total, _standing(study.history, objectives))

    with Mirror(run.tracker, Ledger(run.store), run.names, lambda text: run.progress.note("search", text)) as mirror:
        return search(run.spec, run.folder / "data_prep", ledger, out, name=run.id, on_trial=progress)


def _standing(history: Sequence[Trial], objectives: Sequence[Objective]) -> str:
    best = order.best([trial for trial in history if trial.fidelity == 1.0], objectives)
    if best is None or best.metrics is None:
        return ""
    return "best " + ", ".join(f"{o.metric} {order.value(best.metrics, o):.5g}" for o in objectives)


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is Python's
    """End by an exception, so that trials, engines and the mirror are closed on the way out."""
    sys.exit(128 + number)
