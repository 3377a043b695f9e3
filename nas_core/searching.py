"""A search in one call, for a notebook, a script or a benchmark; the pipeline's search stage does it with engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from nas_core.interfaces import BatchEstimator, Estimator, Rung, SearchSpace, Strategy
from nas_core.ledger import Ledger
from nas_core.runner import LocalRunner
from nas_core.store import FolderStore, MemoryStore
from nas_core.study import LedgerStudy
from nas_core.types import Budget, Objective, Trial


def search(
    space: SearchSpace,
    strategy: Strategy,
    estimator: Estimator | BatchEstimator,
    objectives: Sequence[Objective],
    budget: Budget,
    *,
    folder: Path | None = None,
    priors: Sequence[Trial] = (),
    on_trial: Callable[[Trial], None] | None = None,
) -> LedgerStudy:
    """Search in this process until `budget` is spent or nothing is left, and return the study.

    With a `folder` the ledger and the checkpoints are kept there, and a second call goes on where the first one was
    stopped; without one they are gone at the end. `priors` are trials of earlier searches; `on_trial` is called with
    every trial that has ended. `nas_core.objectives.best(study.history, objectives)` is the answer.
    """
    ledger = Ledger(FolderStore(folder) if folder else MemoryStore())
    study = LedgerStudy(ledger, space, objectives, strategy, priors=priors)
    LocalRunner(folder / "weights" if folder else None, on_progress=on_trial).run(study, [Rung(1.0, estimator)], budget)
    return study
