from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nas_core import registry
from nas_core.errors import InputError
from nas_core.estimators.training import Training
from nas_core.interfaces import Trainer
from nas_core.space import describe
from nas_core.spaces.chain import Chain
from nas_core.tasks.tabular import Tabular
from nas_core.types import Port, Signature, Trial

DEEP, SHALLOW = "2", "1"


def architecture(space: Chain, depth: str = DEEP) -> tuple[int, ...]:
    return tuple(d.options.index(depth) if d.name == "depth" else 0 for d in space.decisions)


@pytest.fixture
def training(space: Chain, adult: Tabular) -> Training:
    return Training(space, adult, 0, epochs=4, batch_size=64)


@pytest.fixture
def trial(space: Chain) -> Trial:
    return Trial(number=0, architecture=architecture(space))


def test_it_learns_adult(training: Training, trial: Trial, recorder: Callable[..., Any]) -> None:
    session = recorder()
    metrics = training.estimate(trial, session)
    losses = [metrics["train_loss"] for _, metrics in session.curve]
    assert losses[-1] < losses[0] < math.log(2)
    assert metrics["accuracy"] > 0.8
    assert metrics["auroc"] > 0.85


def test_every_epoch_is_reported_with_all_metrics_and_the_last_returned(
    training: Training, trial: Trial, recorder: Callable[..., Any]
) -> None:
    session = recorder()
    metrics = training.estimate(trial, session)
    assert [step for step, _ in session.curve] == [1, 2, 3, 4]
    assert session.curve[-1][1] == metrics
    assert {"accuracy", "log_loss", "train_loss", "validation_loss", "params", "macs"} <= set(metrics)


def test_the_result_depends_on_seed_and_architecture_alone(
    space: Chain, adult: Tabular, training: Training, trial: Trial, recorder: Callable[..., Any]
) -> None:
    first = training.estimate(trial, recorder())
    torch.manual_seed(99)
    again = Training(space, adult, 0, epochs=4, batch_size=64)
    assert again.estimate(Trial(number=7, architecture=trial.architecture), recorder(7)) == first
    other = Training(space, adult, 1, epochs=4, batch_size=64)
    assert other.estimate(Trial(number=8, architecture=trial.architecture), recorder(8)) != first


def test_twins_get_the_same_result(space: Chain, training: Training, recorder: Callable[..., Any]) -> None:
    inactive = [d.name for d in space.decisions].index("width_2")
    one = architecture(space, SHALLOW)
    twin = tuple(1 if i == inactive else value for i, value in enumerate(one))
    assert describe(space, one) == describe(space, twin)
    results = [training.estimate(Trial(number=i, architecture=a), recorder(i)) for i, a in enumerate((one, twin))]
    assert results[0] == results[1]


def test_torchs_generator_is_left_as_it_was(training: Training, trial: Trial, recorder: Callable[..., Any]) -> None:
    before = torch.get_rng_state()
    training.estimate(trial, recorder())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("fidelity", "epochs"), [(1.0, 4), (0.5, 2), (0.3, 1), (0.01, 1)])
def test_fidelity_is_the_share_of_epochs(
    space: Chain, training: Training, recorder: Callable[..., Any], fidelity: float, epochs: int
) -> None:
    session = recorder()
    training.estimate(Trial(number=0, architecture=architecture(space), fidelity=fidelity), session)
    assert len(session.curve) == epochs


def test_it_stops_when_it_is_told(training: Training, trial: Trial, recorder: Callable[..., Any]) -> None:
    session = recorder(stop_after=2)
    metrics = training.estimate(trial, session)
    assert session.curve[-1] == (2, metrics)


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_killed_trial_goes_on_from_its_checkpoint_bit_for_bit(
    training: Training, trial: Trial, recorder: Callable[..., Any], epoch: int
) -> None:
    whole = recorder(5)
    training.estimate(trial, whole)
    with pytest.raises(KeyboardInterrupt):
        training.estimate(trial, recorder(kill_after=epoch))
    resumed = recorder()
    training.estimate(trial, resumed)
    assert resumed.curve == whole.curve
    assert weights(resumed) == weights(whole)


def test_augmented_training_goes_on_bit_for_bit_too(recorder: Callable[..., Any]) -> None:
    """An LSTM with dropout, on texts of which words are dropped."""
    port = Port(name="text", shape=(6,), dtype="int64", classes=9)
    signature = Signature(inputs=(port,), outputs=(Port(name="label", shape=(2,), classes=2),))
    rows = ((np.random.default_rng(0).integers(0, 9, (40, 6)),), np.arange(40) % 2)
    task = registry.load("tasks", "text")(signature, {"train": rows, "validation": rows}, word_dropout=0.3)
    options = {"max_depth": 1, "operations": ["lstm"], "dropouts": [0.3], "widths": [4], "embedding_dims": [4]}
    texts = registry.load("spaces", "text-chain")(signature, **options)
    training = Training(texts, task, 0, epochs=3, batch_size=16)
    trial = Trial(number=0, architecture=(0,) * len(texts.decisions))
    whole = recorder(5)
    training.estimate(trial, whole)
    with pytest.raises(KeyboardInterrupt):
        training.estimate(trial, recorder(kill_after=1))
    resumed = recorder()
    training.estimate(trial, resumed)
    assert resumed.curve == whole.curve
    assert weights(resumed) == weights(whole)


def test_a_promoted_trial_equals_one_trained_in_one_go(
    training: Training, trial: Trial, recorder: Callable[..., Any]
) -> None:
    whole = recorder(5)
    training.estimate(trial, whole)
    training.estimate(Trial(number=0, architecture=trial.architecture, fidelity=0.25), recorder(0))
    training.estimate(Trial(number=1, architecture=trial.architecture, fidelity=0.5, parents=(0,)), recorder(1))
    promoted = recorder(2)
    training.estimate(Trial(number=2, architecture=trial.architecture, parents=(1, 0)), promoted)
    assert promoted.curve == whole.curve
    assert weights(promoted) == weights(whole)


def test_a_promoted_trial_trains_only_what_its_parent_did_not(
    training: Training, trial: Trial, recorder: Callable[..., Any]
) -> None:
    training.estimate(Trial(number=0, architecture=trial.architecture, fidelity=0.75), recorder(0))
    promoted = recorder(1)
    training.estimate(Trial(number=1, architecture=trial.architecture, parents=(0,)), promoted)
    assert [step for step, _ in promoted.curve] == [1, 2, 3, 4]
    assert promoted.saved == [3, 4]  # what it starts from, and the one epoch of its own


def test_a_parent_of_no_use_is_left_alone(
    space: Chain, training: Training, trial: Trial, recorder: Callable[..., Any]
) -> None:
    fresh = training.estimate(Trial(number=9, architecture=trial.architecture, fidelity=0.5), recorder(9))
    training.estimate(Trial(number=0, architecture=architecture(space, SHALLOW), fidelity=0.25), recorder(0))
    training.estimate(Trial(number=1, architecture=trial.architecture), recorder(1))
    for number, parent in ((2, 0), (3, 1), (4, 77)):  # another architecture, a higher fidelity, no checkpoint
        child = Trial(number=number, architecture=trial.architecture, fidelity=0.5, parents=(parent,))
        assert training.estimate(child, recorder(number)) == fresh


def test_a_training_that_diverges_names_the_step(
    space: Chain, adult: Tabular, trial: Trial, recorder: Callable[..., Any]
) -> None:
    with pytest.raises(FloatingPointError, match=r"train_loss is nan at step \d+"):
        Training(space, adult, 0, learning_rate=1e30, warmup=0.0).estimate(trial, recorder())


def test_train_hands_over_the_network_of_the_best_epoch(space: Chain, adult: Tabular) -> None:
    curve: list[tuple[int, float]] = []
    training = Training(space, adult, 0, epochs=8, batch_size=32, learning_rate=0.03)
    module, metrics = training.train(
        architecture(space), on_epoch=lambda step, found: curve.append((step, found["validation_loss"]))
    )
    assert [step for step, _ in curve] == list(range(1, 9))
    best = min(loss for _, loss in curve)
    assert best < curve[-1][1]
    assert metrics["validation_loss"] == best
    assert not module.training
    [(inputs, targets)] = adult.batches("validation", 1200)
    with torch.no_grad():
        assert adult.loss((module(*inputs),), targets).item() == pytest.approx(best, abs=1e-6)


def test_it_is_the_estimator_called_training(training: Training) -> None:
    assert registry.load("estimators", "training") is Training
    assert isinstance(training, Trainer)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("weight_decay", -1.0),
        ("warmup", 1.0),
        ("threads", 0),
    ],
)
def test_an_option_out_of_range_is_named(space: Chain, adult: Tabular, option: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{option}: must be .*, got {value}"):
        Training(space, adult, 0, **{option: value})


def weights(session: Any) -> bytes:
    folder = session.restore()
    assert folder
    return bytes((folder / "weights.safetensors").read_bytes())
