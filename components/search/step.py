"""The search as a step of a cycle: recorded, mirrored to MLflow while it runs, resumed if it was interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from components import parts, spending
from components.backends.mirror import Mirror
from components.run import Result, Run
from components.search.stage import search
from nas_core import objectives as order
from nas_core.ledger import Ledger
from nas_core.study import LedgerStudy
from nas_core.types import Metrics, Objective, Status, Trial


def main(root: str, run_id: str) -> Result:
    """Do the step for the cycle `run_id`."""
    signal.signal(signal.SIGTERM, _leave)
    run = Run.open(root, run_id)
    data = run.results()["data_prep"]["digest"]
    return run.step("search", {"data": data}, lambda out, ledger: _search(run, ledger, out), reads=("data_prep",))


def _search(run: Run, ledger: Ledger, out: Path) -> Result:
    spec = parts.grounded(run.spec, run.base)
    standing = Standing(parts.objectives(spec))
    budget = spec.search.budget.trials

    def progress(study: LedgerStudy, trial: Trial) -> None:
        if standing.take(study.history, trial):
            mirror.wake()
            spent = spending.words(spending.spent(spec.search, study.spent))
            run.progress.advance("search", standing.ended, budget, f"{standing}  {spent}".strip())

    def supernet(step: int, steps: int, metrics: Metrics) -> None:
        figures = ", ".join(f"{name} {value:.5g}" for name, value in metrics.items())
        run.progress.advance("search", step, steps, f"supernet  {figures}".strip())

    with Mirror(run.tracker, Ledger(run.store), run.names, lambda text: run.progress.note("search", text)) as mirror:
        result = search(
            spec,
            run.folder / "data_prep",
            ledger,
            out,
            name=run.id,
            on_trial=progress,
            checkpoints=run.kept.checkpoints("search"),
            on_supernet=supernet,
        )
    if result["exhausted"]:
        run.progress.note(
            "search", f"ended early: after {result['candidates']} candidates there is nothing new to propose"
        )
    return result


class Standing:
    """How far the search is, kept up with each trial that ends: looking through all of them would take ever longer."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.best: Trial | None = None
        self._objectives = objectives
        self._ended: set[int] = set()

    @property
    def ended(self) -> int:
        """How many trials of this cycle have ended."""
        return len(self._ended)

    def take(self, history: Sequence[Trial], trial: Trial) -> bool:
        """Take in that `trial` of `history` has changed; True if it has ended. The first time all of it counts."""
        if trial.status is Status.PENDING:
            return False
        for ended in [trial] if self._ended else history:
            if ended.status is not Status.PENDING and not ended.origin and ended.number not in self._ended:
                self._ended.add(ended.number)
                if ended.fidelity == 1.0:
                    self.best = order.best([*([self.best] if self.best else []), ended], self._objectives)
        return True

    def __str__(self) -> str:
        if self.best is None or self.best.metrics is None:
            return ""
        metrics = self.best.metrics
        return "best " + ", ".join(f"{o.metric} {order.value(metrics, o):.5g}" for o in self._objectives)


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is Python's
    """End by an exception, so that trials, engines and the mirror are closed on the way out."""
    sys.exit(128 + number)
