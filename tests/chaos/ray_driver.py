"""A real search on a Ray cluster: networks trained on real data, slowly enough to be hit, and each epoch logged."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.backends.ray_tune import RayRunner
from components.spec import RayRunnerSpec
from nas_core.estimators.training import Training
from nas_core.interfaces import Estimator, Rung, Session
from nas_core.ledger import Ledger
from nas_core.spaces.chain import Chain
from nas_core.store import FolderStore
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.types import Budget, Metrics, Trial
from tests.chaos.driver import OBJECTIVES, SIGNER, _task

EPOCHS, TRIALS, PAUSE = 8, 8, 0.15


@dataclass(frozen=True)
class Line:
    """An epoch that a worker has trained and saved; `epoch` is 0 where an evaluation has come to its end."""

    number: int
    attempt: int
    epoch: int
    process: int
    node: str


def lines(folder: Path) -> list[Line]:
    """Return what workers have logged so far."""
    log = folder / "epochs.log"
    told = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [Line(*map(int, values[:4]), node=values[4]) for values in told]


def search(
    folder: Path, address: str, trials: int = TRIALS, hog: Callable[[Trial], None] | None = None, **options: Any
) -> LedgerStudy:
    """Search on the cluster at `address` to the end, from where the ledger in `folder` ends."""
    folder.mkdir(parents=True, exist_ok=True)
    task = _task()
    space = Chain(task.signature, max_depth=2, widths=(8, 16))
    study = LedgerStudy(Ledger(FolderStore(folder), SIGNER), space, OBJECTIVES, Random(space, OBJECTIVES, 3))
    training = Training(space, task, 3, epochs=EPOCHS, batch_size=64)
    spec = RayRunnerSpec.model_validate({"kind": "ray", "address": address, **options})
    RayRunner(spec, folder, "chaos").run(study, [Rung(1.0, _slow(training, folder, hog))], Budget(trials=trials))
    return study


def _slow(training: Training, folder: Path, hog: Callable[[Trial], None] | None) -> Estimator:
    """Return `training`, which pauses after each epoch and logs it; made here, so that workers get it by value."""
    log_file, pause = folder / "epochs.log", PAUSE

    class Slow:
        def estimate(self, trial: Trial, session: Session) -> Metrics:
            import os
            import time

            import ray

            def log(epoch: int) -> None:
                node = ray.get_runtime_context().get_node_id()
                with log_file.open("ab", buffering=0) as file:
                    file.write(f"{trial.number} {trial.attempt} {epoch} {os.getpid()} {node}\n".encode())

            class Logged:
                device = session.device

                def report(self, step: int, metrics: Metrics, save: Callable[[Path], None] | None = None) -> bool:
                    stop = session.report(step, metrics, save)
                    if save:
                        log(step)
                        time.sleep(pause)
                    return stop

                def restore(self, number: int | None = None) -> Path | None:
                    return session.restore(number)

            if hog:
                hog(trial)
            metrics = training.estimate(trial, Logged())
            log(0)
            return metrics

    return Slow()


if __name__ == "__main__":
    search(Path(sys.argv[1]), sys.argv[2], max_concurrent=2)
