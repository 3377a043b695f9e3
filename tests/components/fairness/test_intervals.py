from __future__ import annotations

import numpy as np
import pytest

from components.fairness.intervals import Pair, Rate, compare

TRIALS = np.array([900, 300, 100, 60, 40, 30, 26, 25])
"""Eight groups, most of them small, as they are in practice."""


def pairs_of(shares: np.ndarray, trials: np.ndarray, seed: int, alpha: float = 0.025) -> list[Pair]:
    rng = np.random.default_rng(seed)
    return compare([Rate("rate", rng.binomial(trials, shares), trials)], alpha, alpha, 500, rng)


def test_bounds_enclose_the_observed_difference_of_every_two_groups() -> None:
    pairs = pairs_of(np.linspace(0.3, 0.6, 8), TRIALS, seed=0)
    assert [pair.groups for pair in pairs] == [(a, b) for a in range(8) for b in range(a + 1, 8)]
    assert all(0 <= pair.lower <= pair.difference <= pair.upper <= 1 for pair in pairs)


def test_the_difference_is_the_one_of_the_observed_shares() -> None:
    rate = Rate("rate", np.array([30, 50]), np.array([100, 100]))
    (pair,) = compare([rate], 0.025, 0.025, 500, np.random.default_rng(0))
    assert pair.difference == pytest.approx(0.2)


@pytest.mark.parametrize("share", [0.02, 0.6, 0.95])
def test_lower_bounds_hold_together_however_many_pairs_there_are(share: float) -> None:
    # Without any true difference a positive lower bound is an error, allowed in 2.5 % (α of this test: 0.02 %).
    audits = [pairs_of(np.full(8, share), TRIALS, seed) for seed in range(200)]
    assert sum(max(pair.lower for pair in pairs) > 0 for pairs in audits) < 15


def test_lower_bounds_hold_at_the_limit_too() -> None:
    audits = [pairs_of(np.tile([0.6, 0.7], 4), TRIALS, seed) for seed in range(200)]
    assert sum(max(pair.lower for pair in pairs) > 0.1 for pairs in audits) < 15


def test_the_largest_upper_bound_holds() -> None:
    # The true difference is 0.1, so an upper bound below it is an error, allowed in 2.5 %.
    audits = [pairs_of(np.array([0.6, 0.7]), np.array([900, 500]), seed) for seed in range(200)]
    assert sum(max(pair.upper for pair in pairs) < 0.1 for pairs in audits) < 15


def test_a_group_without_failures_is_not_taken_for_certain() -> None:
    rate = Rate("rate", np.array([25, 900]), np.array([25, 1000]))
    (pair,) = compare([rate], 0.025, 0.025, 500, np.random.default_rng(0))
    assert pair.lower < 0.05
    assert pair.upper > 0.11


def test_the_same_seed_gives_the_same_bounds() -> None:
    assert pairs_of(np.full(8, 0.4), TRIALS, seed=3) == pairs_of(np.full(8, 0.4), TRIALS, seed=3)
