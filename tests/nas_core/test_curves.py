"""Extrapolated learning curves: beside least squares and a closed form, and whether they are as sure as they say."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.stats import binom, multivariate_normal, norm

from nas_core.curves import Forecast, extrapolate
from nas_core.curves.ensemble import ACROSS, AHEAD, NOISES, basis, family_weights
from nas_core.curves.families import FAMILIES
from nas_core.errors import InputError

Array = NDArray[np.float64]
Formula = tuple[Callable[..., Any], tuple[float, ...]]

PAPER: dict[str, Formula] = {
    "pow3": (lambda x, c, a, alpha: c - a * x**-alpha, (0.9, 0.5, 0.8)),
    "pow4": (lambda x, c, a, b, alpha: c - (a * x + b) ** -alpha, (0.9, 1.5, 1.0, 0.9)),
    "log log linear": (lambda x, a, b: np.log(a * np.log(x) + b), (0.2, 1.6)),
    "log power": (lambda x, a, b, c: a / (1 + (x / np.exp(b)) ** c), (0.9, 0.7, -1.1)),
    "MMF": (lambda x, top, low, kappa, delta: top - (top - low) / (1 + (kappa * x) ** delta), (0.9, 0.2, 0.4, 1.2)),
    "exp3": (lambda x, c, a, b: c - np.exp(-a * x + b), (0.9, 0.15, -0.7)),
    "exp4": (lambda x, c, a, b, alpha: c - np.exp(-a * x**alpha + b), (0.9, 0.6, -0.2, 0.6)),
    "Janoschek": (lambda x, top, low, k, delta: top - (top - low) * np.exp(-k * x**delta), (0.9, 0.1, 0.3, 0.8)),
    "Weibull": (lambda x, top, low, k, delta: top - (top - low) * np.exp(-((k * x) ** delta)), (0.9, 0.1, 0.2, 0.9)),
    "ilog2": (lambda x, c, a: c - a / np.log(x + 1), (1.0, 0.3)),
    "vapour pressure": (lambda x, a, b, c: np.exp(a + b / x + c * np.log(x)), (-0.2, -0.8, 0.03)),
    "Hill3": (lambda x, top, eta, kappa: top * x**eta / (kappa**eta + x**eta), (0.9, 0.9, 1.2)),
}  # fmt: skip
"""The formulas as table 1 of the paper has them (exp3: its authors' code), and parameters of a learning curve."""

LAST = 40


def curve_of(name: str, steps: Array) -> Array:
    formula, parameters = PAPER[name]
    return np.asarray(formula(steps, *parameters), dtype=np.float64)


# ---------------------------------------------------------------- families


@pytest.mark.parametrize("name", FAMILIES)
def test_the_grid_fits_as_well_as_least_squares_do(name: str) -> None:
    """The best shape of the grid, offset and factor free, against scipy's fit of the paper's formula."""
    x = np.arange(1.0, 21.0)
    y = curve_of(name, x) + 0.01 * np.random.default_rng(0).standard_normal(20)
    formula, parameters = PAPER[name]
    with np.errstate(all="ignore"):
        found, _ = curve_fit(formula, x, y, p0=parameters, maxfev=20_000)
    least = float(((y - formula(x, *found)) ** 2).sum())
    shapes, index = basis(tuple(range(1, 21)), LAST), list(FAMILIES).index(name)
    errors = []
    for one, two, fixed in zip(
        *(part[shapes.family == index] for part in (shapes.one, shapes.two, shapes.fixed)), strict=True
    ):
        columns = np.stack([one, two], axis=1)
        coefficients = np.linalg.lstsq(columns, y - fixed, rcond=None)[0]
        errors.append(float(((y - fixed - columns @ coefficients) ** 2).sum()))
    assert least * 0.999 < min(errors)
    beyond = ((min(errors) - least) / len(x)) ** 0.5
    assert beyond < 0.025 * np.ptp(y), "as far as the next shape of the grid"


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_is_told_from_a_long_curve_of_its_own_that_it_goes_on(name: str) -> None:
    x = np.arange(1.0, 21.0)
    y = curve_of(name, x) + 0.002 * np.random.default_rng(1).standard_normal(20)
    forecast = extrapolate(range(1, 21), y.tolist(), LAST)
    assert abs(forecast.mean - curve_of(name, np.array([LAST]))[0]) < 0.02
    assert forecast.sd < 0.03
    weights = family_weights(range(1, 21), y.tolist(), LAST)
    assert sum(weights.values()) == pytest.approx(1)


# ---------------------------------------------------------------- the posterior


def literally(name: str, steps: tuple[int, ...], y: Array, last: int) -> tuple[float, float]:
    """Mean and sd at `last` under one family, shape by shape and noise by noise, with scipy's normal distributions."""
    shapes = basis(steps, last)
    end = basis((*steps, last) if steps[-1] < last else steps, last)
    chosen = np.flatnonzero(shapes.family == list(FAMILIES).index(name))
    unit = float(np.ptp(y))
    prior = np.diag([(AHEAD * unit) ** 2, (ACROSS * unit) ** 2])
    logs, means, variances = [], [], []
    for g in chosen:
        columns = np.stack([shapes.one[g], shapes.two[g]], axis=1)
        at_end = np.array([end.one[g, -1], end.two[g, -1]])
        known = shapes.fixed[g] + y[-1] * shapes.one[g]
        for noise in NOISES * unit:
            covariance = columns @ prior @ columns.T + noise**2 * np.eye(len(y))
            logs.append(multivariate_normal(known, covariance).logpdf(y))
            gain = at_end @ prior @ columns.T @ np.linalg.inv(covariance)
            means.append(y[-1] * at_end[0] + end.fixed[g, -1] + gain @ (y - known))
            variances.append(at_end @ prior @ at_end - gain @ columns @ prior @ at_end + noise**2)
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    mean = float(weights @ means)
    return mean, float(np.sqrt(weights @ (np.array(variances) + (np.array(means) - mean) ** 2)))


@pytest.mark.parametrize("name", ["ilog2", "pow3", "log log linear", "Hill3"])
def test_offset_and_factor_are_integrated_exactly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One family alone, as a Gaussian process with its covariance, for which there is another formula."""
    steps = (1, 2, 3, 5, 8)
    y = np.array([0.3, 0.52, 0.6, 0.66, 0.71])
    expected = literally(name, steps, y, 20)
    shapes = basis(steps, 20)
    alone = shapes._replace(prior=np.where(shapes.family == list(FAMILIES).index(name), 0.0, -np.inf))
    monkeypatch.setattr("nas_core.curves.ensemble.basis", lambda *_: alone)
    forecast = extrapolate(steps, y.tolist(), 20)
    assert (forecast.mean, forecast.sd) == pytest.approx(expected, rel=2e-3)


def test_evidence_is_what_families_are_weighted_by() -> None:
    """A curve that rises late in the shape of an S is no power law."""
    x = np.arange(1.0, 31.0)
    weights = family_weights(range(1, 31), (0.1 + 0.8 / (1 + (12 / x) ** 4)).tolist(), 60)
    assert weights["pow3"] + weights["ilog2"] + weights["exp3"] < 1e-3
    assert weights["MMF"] + weights["Weibull"] + weights["Janoschek"] + weights["log power"] > 0.9


curves = st.lists(st.floats(0, 1), min_size=2, max_size=12).filter(lambda y: max(y) - min(y) > 1e-3)


@given(curves, st.floats(0.01, 100))
def test_a_forecast_is_finite_and_a_probability_falls_with_what_is_asked(y: list[float], factor: float) -> None:
    steps = range(1, len(y) + 1)
    forecast = extrapolate(steps, [factor * value for value in y], 2 * len(y))
    assert np.isfinite([forecast.mean, forecast.sd]).all()
    assert forecast.sd > 0
    chances = [forecast.above(v) for v in np.linspace(-2 * factor, 3 * factor, 9)]
    assert all(0 <= later <= earlier <= 1 for earlier, later in pairwise(chances))


def test_the_same_curve_has_the_same_forecast() -> None:
    curve = [0.2, 0.5, 0.6]
    assert extrapolate((1, 2, 3), curve, 9).mean == extrapolate([1, 2, 3], list(curve), 9).mean


def test_steps_count_in_first_reports() -> None:
    one, hundred = (extrapolate([s * u for s in (1, 2, 3)], [0.2, 0.5, 0.6], 9 * u) for u in (1, 100))
    assert (one.mean, one.sd) == pytest.approx((hundred.mean, hundred.sd))


def test_nothing_is_known_better_than_the_noise_and_what_is_far_less_than_what_is_near() -> None:
    y = [0.3, 0.5, 0.58, 0.63, 0.66]
    sds = [extrapolate(range(1, 6), y, last).sd for last in (6, 12, 48)]
    assert 0 < sds[0] < sds[1] < sds[2]


def test_a_flat_curve_stays_where_it_is() -> None:
    forecast = extrapolate(range(1, 6), [0.1] * 5, 50)
    assert forecast.mean == pytest.approx(0.1, abs=0.01)
    assert forecast.above(0.2) < 1e-3


@pytest.mark.parametrize(
    ("steps", "figures", "message"),
    [
        ((), (), "needs a figure at each of its steps"),
        ((1, 2), (0.1,), "got 1 figures at"),
        ((2, 1), (0.1, 0.2), "rise from 1 or more up to 9"),
        ((0, 1), (0.1, 0.2), "rise from 1 or more up to 9"),
        ((8, 10), (0.1, 0.2), "rise from 1 or more up to 9"),
        ((1, 2), (0.1, float("nan")), "figures must be finite"),
    ],
)
def test_what_is_no_curve_is_refused(steps: tuple[int, ...], figures: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        extrapolate(steps, figures, 9)


# ---------------------------------------------------------------- mixtures


def test_a_mixture_is_what_its_draws_are() -> None:
    mixture = Forecast(np.array([0.3, 0.7]), np.array([0.0, 2.0]), np.array([1.0, 0.5]))
    draws = mixture.sample(np.random.default_rng(0), 200_000)
    assert mixture.mean == pytest.approx(draws.mean(), abs=0.02)
    assert mixture.sd == pytest.approx(draws.std(), rel=0.01)
    assert mixture.above(1.0) == pytest.approx((draws > 1).mean(), abs=0.005)
    assert mixture.above(1.0) == pytest.approx(0.3 * norm.sf(1) + 0.7 * norm.sf(-2))


def test_a_correction_moves_the_mean_and_stretches_the_spread() -> None:
    mixture = Forecast(np.array([0.3, 0.7]), np.array([0.0, 2.0]), np.array([1.0, 0.5]))
    corrected = mixture.corrected(0.5, 2.0)
    assert (corrected.mean, corrected.sd) == pytest.approx((mixture.mean + 0.5, 2 * mixture.sd))


# ---------------------------------------------------------------- as sure as it says


def test_intervals_hold_as_often_as_they_say_on_curves_of_the_families() -> None:
    """Two-sided binomial test at alpha = 0.001 that 90 % intervals hold in 85 to 97 of 100 at the least, at the most.

    Curves are drawn from the paper's formulas, not from our prior, so that exactly 90 % is not to be had.
    """
    rng = np.random.default_rng(5)
    x, held = np.arange(1.0, 41.0), 0
    names = list(PAPER) * 20
    for name in names:
        formula, parameters = PAPER[name]
        with np.errstate(all="ignore"):
            y = formula(x, *(p * rng.uniform(0.8, 1.2) for p in parameters)) + 0.01 * rng.standard_normal(40)
        held += 0.05 < extrapolate(range(1, 13), y[:12].tolist(), 40).above(float(y[-1])) < 0.95
    assert binom.cdf(held, len(names), 0.85) > 0.0005
    assert binom.sf(held - 1, len(names), 0.97) > 0.0005


def test_a_fit_takes_less_than_half_of_twelve_least_squares() -> None:
    """In turns, so that whatever else the machine does hits both."""
    x, ours, theirs = np.arange(1.0, 31.0), [], []
    for seed in range(5):
        y = curve_of("pow3", x) + 0.01 * np.random.default_rng(seed).standard_normal(30)
        began = time.perf_counter()
        extrapolate(range(1, 31), y.tolist(), 60)
        middle = time.perf_counter()
        for formula, parameters in PAPER.values():
            with np.errstate(all="ignore"), warnings.catch_warnings(), contextlib.suppress(RuntimeError):
                warnings.simplefilter("ignore", OptimizeWarning)
                curve_fit(formula, x, y, p0=parameters, maxfev=2000)
        theirs.append(time.perf_counter() - middle)
        ours.append(middle - began)
    assert np.median(ours) < 0.5 * np.median(theirs)
