"""A promoted trial goes on where its parent stopped: no epoch is trained twice, and the end is that of one go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_breast_cancer
from torch import Tensor

from nas_core.checkpoints import Checkpoints
from nas_core.estimators.fitting import Fitting
from nas_core.estimators.training import Training
from nas_core.interfaces import Rung, Stopper, Strategy
from nas_core.ledger import Ledger
from nas_core.runner import LocalRunner
from nas_core.spaces.chain import Chain
from nas_core.stoppers.median import Median
from nas_core.store import MemoryStore, Store
from nas_core.strategies.asha import ASHA
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.tasks.tabular import Tabular
from nas_core.types import Architecture, Budget, Objective, Port, Proposal, Signature, Status, Trial

OBJECTIVES = (Objective(metric="log_loss", goal="min"),)
EPOCHS = 9
SIGNATURE = Signature(inputs=(Port(name="numeric", shape=(8,)),), outputs=(Port(name="target", shape=(2,), classes=2),))


@pytest.fixture(scope="module")
def training() -> Training:
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)[:, :8]
    task = Tabular(SIGNATURE, {"train": ((x[:200],), y[:200]), "validation": ((x[200:400],), y[200:400])})
    space = Chain(SIGNATURE, max_depth=2, widths=(4, 8), normalisations=("batch",), dropouts=(0.2,))
    return Training(space, task, 0, epochs=EPOCHS, batch_size=50)


@contextmanager
def counting() -> Iterator[Counter[int]]:
    """Count how often each epoch of a training, the first is 1, is really trained."""
    trained = Counter[int]()
    advance = Fitting.advance

    def counted(fitting: Fitting) -> dict[str, float]:
        metrics = advance(fitting)
        trained[len(fitting.curve)] += 1
        return metrics

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fitting, "advance", counted)
        yield trained


class Only:
    """Proposes one architecture, in full."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def propose(self, history: Sequence[Trial], _: int) -> Sequence[Proposal]:
        return [] if history else [Proposal(architecture=self.architecture)]


def search(
    training: Training,
    folder: Path,
    strategy: Strategy,
    trials: int,
    stopper: Stopper | None = None,
    store: Store | None = None,
) -> list[Trial]:
    study = LedgerStudy(Ledger(store or MemoryStore()), training._space, OBJECTIVES, strategy, stopper=stopper)
    LocalRunner(folder).run(study, [Rung(1.0, training)], Budget(trials=trials))
    return list(study.history)


def asha(training: Training) -> ASHA:
    return ASHA(training._space, OBJECTIVES, 0)  # rungs of 1, 3 and 9 epochs


class Searched(NamedTuple):
    history: list[Trial]
    folder: Path
    epochs: Counter[int]

    @property
    def climbs(self) -> dict[Architecture, list[Trial]]:
        found: dict[Architecture, list[Trial]] = {}
        for trial in self.history:
            found.setdefault(trial.architecture, []).append(trial)
        return found


@pytest.fixture(scope="module")
def searched(training: Training, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("search")
    with counting() as epochs:
        return Searched(search(training, folder, asha(training), 24), folder, epochs)


def test_what_is_trained_is_the_sum_of_increments(searched: Searched) -> None:
    reached = Counter(max(round(trial.fidelity * EPOCHS) for trial in climb) for climb in searched.climbs.values())
    assert reached.keys() == {1, 3, 9}, "some were promoted to the end, or nothing is shown"
    assert searched.epochs == {
        epoch: sum(count for last, count in reached.items() if last >= epoch) for epoch in range(1, EPOCHS + 1)
    }
    from_scratch = sum(round(trial.fidelity * EPOCHS) for trial in searched.history)
    assert searched.epochs.total() == sum(last * count for last, count in reached.items()) < from_scratch


def test_in_parts_is_as_in_one_go(training: Training, searched: Searched, tmp_path: Path) -> None:
    (top, *_) = [trial for trial in searched.history if trial.fidelity == 1.0]
    assert [trial.fidelity for trial in searched.climbs[top.architecture]] == [1 / 9, 1 / 3, 1.0]
    with counting() as epochs:
        (whole,) = search(training, tmp_path, Only(top.architecture), 1)
    assert epochs == dict.fromkeys(range(1, EPOCHS + 1), 1)
    assert top.metrics == whole.metrics
    assert top.curve == whole.curve, "a promoted trial has the whole curve, its parent's steps included"
    assert len(whole.curve) == EPOCHS
    parts, one = weights(searched.folder, top.number), weights(tmp_path, 0)
    assert parts.keys() == one.keys()
    assert all(torch.equal(parts[name], one[name]) for name in one)


def weights(folder: Path, number: int) -> dict[str, Tensor]:
    checkpoint = Checkpoints(folder).newest(number)
    assert checkpoint is not None
    return load_file(checkpoint / "weights.safetensors")


def test_a_child_whose_parents_checkpoint_is_gone_trains_from_the_start_to_the_same_end(
    training: Training, searched: Searched, tmp_path: Path
) -> None:
    store = MemoryStore()
    child = next(trial for trial in searched.history if trial.parents)
    search(training, tmp_path / "gone", asha(training), child.number, store=store)
    with counting() as epochs:
        history = search(training, tmp_path / "new", asha(training), child.number + 1, store=store)
    assert epochs == {1: 1, 2: 1, 3: 1}
    assert (history[-1].parents, history[-1].metrics) == (child.parents, child.metrics)


def test_a_stopped_trial_is_trained_no_further_and_has_its_last_report(training: Training, tmp_path: Path) -> None:
    strategy = Random(training._space, OBJECTIVES, 0)
    with counting() as epochs:
        history = search(training, tmp_path, strategy, 12, stopper=Median(OBJECTIVES))
    pruned = [trial for trial in history if trial.status is Status.PRUNED]
    assert 0 < len(pruned) < 12
    for trial in pruned:
        assert (trial.metrics, trial.error) == (trial.curve[-1][1], "")
        assert len(trial.curve) < EPOCHS
    assert {len(trial.curve) for trial in history if trial.status is Status.OK} == {EPOCHS}
    assert epochs.total() == sum(len(trial.curve) for trial in history) < 12 * EPOCHS
