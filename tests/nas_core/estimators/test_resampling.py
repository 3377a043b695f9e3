"""Little data: means over samples of the rows, and the errors that go with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean, variance
from typing import Any

import numpy as np
import pytest
import torch

from nas_core.estimators.resampling import jackknife
from nas_core.estimators.training import Training
from nas_core.spaces.chain import Chain
from nas_core.tasks.tabular import Tabular
from nas_core.types import Trial

from .test_training import architecture

OPTIONS: dict[str, Any] = {"epochs": 2, "batch_size": 32, "data": 0.1}


@pytest.fixture
def trial(space: Chain) -> Trial:
    return Trial(number=0, architecture=architecture(space))


def test_metrics_are_means_with_standard_errors(
    space: Chain, adult: Tabular, trial: Trial, recorder: Callable[..., Any]
) -> None:
    session = recorder()
    metrics = Training(space, adult, 0, **OPTIONS, samples=3).estimate(trial, session)
    assert [step for step, _ in session.curve] == [1, 2]
    for name in ("accuracy", "log_loss", "auroc", "balanced_accuracy"):
        assert 0 < metrics[f"{name}_se"] < 0.2
    rows = math.sqrt(metrics["accuracy"] * (1 - metrics["accuracy"]) / adult.rows("validation"))
    assert metrics["accuracy_se"] > 0.7 * rows
    assert not {"params_se", "macs_se", "flops_se", "train_loss_se"} & set(metrics)


def test_the_first_of_the_samples_is_the_one_without_others(
    space: Chain, adult: Tabular, trial: Trial, recorder: Callable[..., Any]
) -> None:
    alone = Training(space, adult, 0, **OPTIONS).estimate(trial, recorder(1))
    session = recorder(0)
    metrics = Training(space, adult, 0, **OPTIONS, samples=2).estimate(trial, session)
    folder = session.restore() / "0"
    assert (folder / "state.json").exists()
    assert "accuracy_se" not in alone
    assert metrics["accuracy"] != alone["accuracy"]


def test_a_killed_trial_of_several_samples_goes_on_bit_for_bit(
    space: Chain, adult: Tabular, trial: Trial, recorder: Callable[..., Any]
) -> None:
    training = Training(space, adult, 0, **{**OPTIONS, "epochs": 3}, samples=2)
    whole = recorder(5)
    training.estimate(trial, whole)
    with pytest.raises(KeyboardInterrupt):
        training.estimate(trial, recorder(kill_after=1))
    resumed = recorder()
    training.estimate(trial, resumed)
    assert resumed.curve == whole.curve


@pytest.mark.parametrize("axis", ["epochs", "data"])
def test_a_promoted_trial_goes_on_with_all_samples(
    space: Chain, adult: Tabular, trial: Trial, recorder: Callable[..., Any], axis: str
) -> None:
    training = Training(space, adult, 0, **OPTIONS, samples=2, fidelity=[axis])
    training.estimate(Trial(number=0, architecture=trial.architecture, fidelity=0.5), recorder(0))
    session = recorder(1)
    promoted = training.estimate(Trial(number=1, architecture=trial.architecture, parents=(0,)), session)
    alone = training.estimate(Trial(number=2, architecture=trial.architecture), recorder(2))
    assert (promoted == alone) is (axis == "epochs")
    assert session.saved == [1, 2]


def test_the_error_of_a_share_is_the_binomial_one(adult: Tabular) -> None:
    """Of 4,000 rows, a quarter of them wrong: for means the jackknife is exact but for the groups that it drew."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        target = torch.from_numpy(rng.integers(0, 2, 1000))
        wrong = torch.from_numpy(rng.random(1000) < 0.25)
        guess = torch.where(wrong, 1 - target, target)
        logits = torch.nn.functional.one_hot(guess, 2).float()
        found.append(jackknife(adult, [((logits,), (target,))])["accuracy"])
    # 60 chi-squared figures of 19 degrees of freedom: 4 standard errors of their mean are 17 %
    assert fmean(found) == pytest.approx(0.25 * 0.75 / 1000, rel=0.17)


def test_the_error_of_a_rank_statistic_is_that_of_redrawn_rows(adult: Tabular) -> None:
    rng = np.random.default_rng(1)

    def drawn() -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        target = torch.from_numpy(rng.integers(0, 2, 400))
        score = torch.from_numpy(rng.normal(size=400)) + target
        return (torch.stack([torch.zeros(400, dtype=torch.float64), score], dim=1),), (target,)

    draws = [drawn() for _ in range(100)]
    told = fmean(jackknife(adult, [each])["auroc"] for each in draws)
    real = variance([adult.metrics(*each)["auroc"] for each in draws])
    # the real one is a chi-squared figure of 99 degrees of freedom: 4 standard errors are 57 %
    assert told == pytest.approx(real, rel=0.57)


def test_a_class_of_few_rows_leaves_out_what_cannot_be_told(adult: Tabular) -> None:
    target = torch.tensor([1] + [0] * 30)
    logits = torch.zeros(31, 2)
    assert jackknife(adult, [((logits,), (target,))]).keys() == {"accuracy", "balanced_accuracy", "log_loss"}


@pytest.mark.slow
def test_the_standard_error_covers_what_the_mean_over_samples_comes_to(
    space: Chain, adult: Tabular, trial: Trial, recorder: Callable[..., Any]
) -> None:
    """Means over 3 samples of 5 %, 12 times over; between seeds they differ by what the errors say, rows apart."""
    found = [
        Training(space, adult, seed, epochs=2, batch_size=32, data=0.05, samples=3).estimate(trial, recorder(seed))
        for seed in range(12)
    ]
    spread = math.sqrt(variance([each["accuracy"] for each in found]))
    told = fmean(each["accuracy_se"] for each in found)
    # the rows are the same in all, and told holds their error too: the spread is less than that, but not by orders
    assert 0.2 * told < spread < 2 * told
