"""The Gaussian process: its gradient by finite differences, its posterior beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from nas_core.strategies._gaussian_process import Columns, Kernel, Posterior

CURVED = Columns((0, 1, 2), ())
TIED = Columns((0, 0, 1), (0, 1, 1))

Array = NDArray[np.float64]


def draw(seed: int, rows: int, columns: Columns) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(rows, len(columns.nonlinear) + len(columns.linear)))
    return codes, np.sin(codes[:, 0]) + codes[:, -1] + 0.1 * rng.normal(size=rows)


def moved(kernel: Kernel) -> Array:
    """Hyperparameters that are not the prior's."""
    return kernel.center + 0.5 * np.random.default_rng(0).normal(size=len(kernel.center))


def all_rows(codes: Array) -> NDArray[np.intp]:
    return np.arange(len(codes))


@pytest.mark.parametrize("columns", [CURVED, TIED])
def test_the_gradient_is_that_of_the_loss(columns: Columns) -> None:
    kernel = Kernel(columns)
    codes, targets = draw(0, 15, columns)
    h = moved(kernel)
    slopes = approx_fprime(h, lambda x: kernel.loss(x, codes, targets)[0], 1e-6)
    np.testing.assert_allclose(kernel.loss(h, codes, targets)[1], slopes, rtol=1e-3, atol=1e-4)


def test_without_linear_columns_the_posterior_is_that_of_scikit_learn() -> None:
    kernel = Kernel(CURVED)
    (codes, targets), (candidates, _) = draw(0, 20, CURVED), draw(1, 30, CURVED)
    h = moved(kernel)
    *relevances, variance, noise = np.exp(h)
    radial = ConstantKernel(variance) * RBF([1 / np.sqrt(2 * w) for w in relevances])
    peer = GaussianProcessRegressor(radial, alpha=noise + 1e-8, optimizer=None).fit(codes, targets)
    mean, sd = peer.predict(candidates, return_std=True)
    posterior = Posterior(kernel, h, codes, targets, candidates)
    np.testing.assert_allclose(posterior.mean, mean, atol=1e-8)
    np.testing.assert_allclose(posterior.sd(all_rows(candidates)), sd, rtol=1e-5)


def test_the_loss_is_the_negative_log_marginal_likelihood_of_scikit_learn_and_the_prior() -> None:
    kernel = Kernel(CURVED)
    codes, targets = draw(0, 20, CURVED)
    h = moved(kernel)
    *relevances, variance, noise = np.exp(h)
    radial = ConstantKernel(variance) * RBF([1 / np.sqrt(2 * w) for w in relevances]) + WhiteKernel(noise + 1e-8)
    peer = GaussianProcessRegressor(radial, alpha=0, optimizer=None).fit(codes, targets)
    prior = 0.5 * (((h - kernel.center) / kernel.spread) ** 2).sum()
    constant = 10 * np.log(2 * np.pi)
    assert kernel.loss(h, codes, targets)[0] + constant == pytest.approx(prior - peer.log_marginal_likelihood_value_)


def test_with_tied_and_linear_columns_the_posterior_is_the_closed_form() -> None:
    kernel = Kernel(TIED)
    (codes, targets), (candidates, _) = draw(0, 20, TIED), draw(1, 30, TIED)
    h = moved(kernel)
    w0, w1, v0, v1, variance, noise = np.exp(h)
    nonlinear, linear = np.array([w0, w0, w1]), np.array([v0, v1, v1])

    def k(a: Array, b: Array) -> Array:
        squares = ((a[:, np.newaxis, :3] - b[:, :3]) ** 2) @ nonlinear
        return variance * np.exp(-squares) + (a[:, 3:] * linear) @ b[:, 3:].T

    inverse = np.linalg.inv(k(codes, codes) + (noise + 1e-8) * np.eye(len(codes)))
    cross = k(candidates, codes)
    posterior = Posterior(kernel, h, codes, targets, candidates)
    np.testing.assert_allclose(posterior.mean, cross @ inverse @ targets, atol=1e-8)
    variances = np.diag(k(candidates, candidates) - cross @ inverse @ cross.T)
    np.testing.assert_allclose(posterior.sd(all_rows(candidates)), np.sqrt(variances), rtol=1e-5)
    np.testing.assert_allclose(posterior.mean_at_data, k(codes, codes) @ inverse @ targets, atol=1e-8)


def test_a_datum_that_is_added_counts_as_one_that_was_there() -> None:
    kernel = Kernel(TIED)
    (codes, targets), (candidates, _) = draw(0, 20, TIED), draw(1, 30, TIED)
    h = moved(kernel)
    grown = Posterior(kernel, h, codes, targets, candidates)
    grown.add(7, 0.5)
    whole = Posterior(kernel, h, np.vstack([codes, candidates[7]]), np.append(targets, 0.5), candidates)
    np.testing.assert_allclose(grown.mean, whole.mean)
    np.testing.assert_allclose(grown.sd(all_rows(candidates)), whole.sd(all_rows(candidates)))


def test_without_data_the_posterior_is_the_prior() -> None:
    kernel = Kernel(CURVED)
    candidates, _ = draw(1, 5, CURVED)
    posterior = Posterior(kernel, kernel.center, candidates[:0], np.zeros(0), candidates)
    assert posterior.mean == pytest.approx(np.zeros(5))
    assert posterior.sd(all_rows(candidates)) == pytest.approx(np.ones(5))


def test_fitting_finds_which_column_matters() -> None:
    kernel = Kernel(CURVED)
    codes, _ = draw(0, 80, CURVED)
    *relevances, _, noise = kernel.fit(codes, np.sin(2 * codes[:, 1]))
    assert np.argmax(relevances) == 1
    assert noise < kernel.center[-1]


def test_fitting_lowers_the_loss() -> None:
    kernel = Kernel(TIED)
    codes, targets = draw(0, 40, TIED)
    h = kernel.fit(codes, targets)
    assert kernel.loss(h, codes, targets)[0] < kernel.loss(kernel.center, codes, targets)[0] - 1


@pytest.mark.parametrize("targets", [np.zeros(30), np.repeat([1.0, -1.0], 15)])
def test_rows_that_are_all_equal_can_be_fitted(targets: Array) -> None:
    kernel = Kernel(TIED)
    codes = np.ones((30, 6))
    h = kernel.fit(codes, targets)
    assert np.isfinite(h).all()
    assert Posterior(kernel, h, codes, targets, codes).mean == pytest.approx(np.zeros(30), abs=0.1)


def test_columns_side_by_side_keep_their_relevances() -> None:
    both = TIED.beside(Columns((0,), (0,)))
    assert both == Columns((0, 0, 1, 2), (0, 1, 1, 2))
    codes, others = np.arange(6.0)[np.newaxis], np.array([[10.0, 20.0]])
    assert TIED.join(codes, others, Columns((0,), (0,))).tolist() == [[0, 1, 2, 10, 3, 4, 5, 20]]
