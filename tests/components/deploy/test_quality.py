from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from components.deploy.quality import compare, keeps, mcnemar, metrics
from nas_core.tasks.tabular import Tabular
from nas_core.types import Port, Signature

TASK = Tabular(Signature(inputs=(Port(name="x", shape=(1,)),), outputs=(Port(name="y", shape=(2,), classes=2),)), {})
counts = st.integers(0, 60)


def guesses(targets: np.ndarray, right: float, seed: int, confident: float = 0.7) -> np.ndarray:
    """Probabilities (rows, 2) of a model that is right in this share of rows."""
    hit = np.random.default_rng(seed).random(len(targets)) < right
    chosen = np.where(hit, targets, 1 - targets)
    probabilities = np.full((len(targets), 2), 1 - confident, np.float32)
    probabilities[np.arange(len(targets)), chosen] = confident
    return probabilities


@pytest.fixture
def targets() -> np.ndarray:
    return (np.random.default_rng(0).random(2000) < 0.1).astype(np.int64)


@given(better=counts, worse=counts, alpha=st.sampled_from([0.01, 0.05, 0.2]))
def test_the_lower_bound_is_positive_just_if_the_exact_test_is_significant(
    better: int, worse: int, alpha: float
) -> None:
    lower, _ = mcnemar(better, worse, 1000, 1 - alpha)
    discordant = better + worse
    p = binomtest(better, discordant, alternative="greater").pvalue if discordant else 1.0
    assert (lower > 0) == (p < alpha)


@given(better=counts, worse=counts)
def test_bounds_enclose_the_difference_and_mirror_when_the_models_change_places(better: int, worse: int) -> None:
    lower, upper = mcnemar(better, worse, 200, 0.95)
    assert lower <= (better - worse) / 200 <= upper
    assert mcnemar(worse, better, 200, 0.95) == pytest.approx((-upper, -lower))


def test_equal_models_are_rarely_called_better() -> None:
    # The confidence allows 5 %, so 140 of 2,000 are too many (α of this test: 0.01 %).
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(2000):
        discordant = int(rng.binomial(1000, 0.05))
        better = int(rng.binomial(discordant, 0.5))
        called += mcnemar(better, discordant - better, 1000, 0.95)[0] > 0
    assert called < 140


def test_accuracy_counts_the_rows_that_tell_the_models_apart(targets: np.ndarray) -> None:
    now, before = guesses(targets, 0.9, 1), guesses(targets, 0.8, 2)
    found = compare("accuracy", TASK, now, before, targets, 0.95)
    assert found.method == "exact McNemar test"
    assert found.difference == pytest.approx((found.better - found.worse) / len(targets))
    assert found.difference == pytest.approx(found.challenger - found.rival)
    assert 0 < found.lower < found.difference < found.upper


def test_a_model_is_not_better_than_itself(targets: np.ndarray) -> None:
    same = guesses(targets, 0.9, 1)
    assert compare("accuracy", TASK, same, same, targets, 0.95).lower <= 0


def test_the_metric_of_the_objective_decides(targets: np.ndarray) -> None:
    always_no = np.tile(np.float32([0.9, 0.1]), (len(targets), 1))
    fair = guesses(targets, 0.8, 3)
    assert compare("accuracy", TASK, fair, always_no, targets, 0.95).upper < 0
    assert compare("balanced_accuracy", TASK, fair, always_no, targets, 0.95).lower > 0


def test_a_lower_loss_is_a_gain(targets: np.ndarray) -> None:
    sure, unsure = guesses(targets, 0.9, 1, confident=0.85), guesses(targets, 0.9, 1, confident=0.6)
    found = compare("log_loss", TASK, sure, unsure, targets, 0.95)
    assert found.lower > 0
    assert found.difference == pytest.approx(found.rival - found.challenger)


def test_what_is_no_metric_of_predictions_is_replaced_by_accuracy(targets: np.ndarray) -> None:
    found = compare("params", TASK, guesses(targets, 0.9, 1), guesses(targets, 0.8, 2), targets, 0.95)
    assert found.metric == "accuracy"


def test_a_certain_model_has_a_finite_loss(targets: np.ndarray) -> None:
    certain = guesses(targets, 0.9, 1, confident=1.0)
    assert np.isfinite(metrics(TASK, certain, targets)["log_loss"])


@pytest.mark.parametrize(
    ("metric", "value", "expected"), [("accuracy", 0.9, True), ("accuracy", 0.7, False), ("log_loss", 0.7, True)]
)
def test_a_limit_is_the_least_that_is_good_enough(metric: str, value: float, expected: bool) -> None:
    assert keeps(metric, value, 0.8) is expected
