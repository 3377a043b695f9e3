"""A real search in a process of its own: networks trained on real data, a signed ledger, checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sklearn.datasets import load_breast_cancer

from components.backends.signing import Ed25519Signer
from nas_core.estimators.fitting import Fitting
from nas_core.estimators.training import Training
from nas_core.interfaces import Rung
from nas_core.ledger import Ledger
from nas_core.runner import CheckpointStore, LocalRunner
from nas_core.spaces.chain import Chain
from nas_core.store import FolderStore, Store
from nas_core.strategies.asha import ASHA
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.tasks.tabular import Tabular
from nas_core.types import Budget, Objective, Port, Signature

SIGNER = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"\x07" * 32))
OBJECTIVES = (Objective(metric="accuracy", goal="max"), Objective(metric="params", goal="min"))
TRIALS, EPOCHS = 14, 4


def search(
    folder: Path,
    strategy: str = "asha",
    trials: int = TRIALS,
    store: Store | None = None,
    checkpoints: CheckpointStore | None = None,
) -> LedgerStudy:
    """Search to the end of the budget, from where the ledger ends; an epoch trained is a line of a log in `folder`.

    Ledger and checkpoints are in `folder`, unless they are given another place.
    """
    task = _task()
    space = Chain(task.signature, max_depth=2, widths=(8, 16))
    proposer: Any = Random(space, OBJECTIVES, 3)
    if strategy == "asha":
        proposer = ASHA(space, OBJECTIVES, 3, eta=2, min_fidelity=0.25)
    study = LedgerStudy(Ledger(store or FolderStore(folder), SIGNER), space, OBJECTIVES, proposer)
    estimator = Training(space, task, 3, epochs=EPOCHS, batch_size=64)
    with _epochs_logged(folder / "epochs.log"):
        LocalRunner(folder, device="cpu", checkpoints=checkpoints).run(
            study, [Rung(1.0, estimator)], Budget(trials=trials)
        )
    return study


def _task() -> Tabular:
    inputs, targets = load_breast_cancer(return_X_y=True)
    inputs = ((inputs - inputs.mean(0)) / inputs.std(0)).astype(np.float32)
    port = Port(name="numeric", shape=(inputs.shape[1],))
    signature = Signature(inputs=(port,), outputs=(Port(name="target", shape=(2,), classes=2),))
    order = np.random.default_rng(0).permutation(len(inputs))
    rows = {"train": order[:400], "validation": order[400:]}
    return Tabular(signature, {name: ((inputs[some],), targets[some].astype(np.int64)) for name, some in rows.items()})


@contextmanager
def _epochs_logged(log: Path) -> Iterator[None]:
    """Write a line for every epoch that was trained to its end, whoever trains it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    advance = Fitting.advance

    def logged(self: Fitting) -> dict[str, float]:
        metrics = advance(self)
        with log.open("ab", buffering=0) as file:
            file.write(f"{self._seed} {len(self.curve)} {os.getpid()}\n".encode())
        return metrics

    with patch.object(Fitting, "advance", logged):
        yield
