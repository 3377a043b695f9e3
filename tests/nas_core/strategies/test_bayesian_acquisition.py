"""Acquisition functions: expected hypervolume improvement beside BoTorch's, and what the others promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nas_core.strategies._acquisition import (
    expected_hypervolume_improvement,
    log_feasibility,
    scalarised,
    upper_confidence_bound,
)

Array = NDArray[np.float64]

REFERENCE = np.array([-1.5, -1.0])
FRONTS = {
    "empty": np.zeros((0, 2)),
    "one point": np.array([[0.2, 0.3]]),
    "several, some dominated": np.array([[0.9, -0.5], [0.5, 0.1], [0.4, 0.0], [-0.2, 0.8], [0.5, 0.1]]),
    "some beyond the reference": np.array([[2.0, -1.4], [0.0, 0.5], [-1.9, 3.0]]),
}


def beliefs() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 2)), rng.uniform(0.05, 1.5, size=(40, 2))


def by_botorch(mean: Array, sd: Array, front: Array) -> Array:
    """BoTorch's figure of normal beliefs: its model is one that holds them, row by row."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("botorch")
    from botorch.acquisition.multi_objective.analytic import ExpectedHypervolumeImprovement
    from botorch.models.model import Model
    from botorch.posteriors.gpytorch import GPyTorchPosterior
    from botorch.utils.multi_objective.box_decompositions.non_dominated import NondominatedPartitioning
    from gpytorch.distributions import MultitaskMultivariateNormal

    class Beliefs(Model):
        num_outputs = 2

        def posterior(self, rows: Any, **_: Any) -> Any:
            at = rows[:, 0, 0].long()
            normal = MultitaskMultivariateNormal(
                torch.tensor(mean)[at].unsqueeze(1), torch.diag_embed(torch.tensor(sd)[at] ** 2)
            )
            return GPyTorchPosterior(normal)

    partitioning = NondominatedPartitioning(torch.tensor(REFERENCE), Y=torch.tensor(front))
    peer = ExpectedHypervolumeImprovement(Beliefs(), REFERENCE.tolist(), partitioning)
    found: Array = peer(torch.arange(len(mean), dtype=torch.float64).view(-1, 1, 1)).detach().numpy()
    return found


@pytest.mark.parametrize("name", FRONTS)
def test_expected_hypervolume_improvement_is_that_of_botorch(name: str) -> None:
    mean, sd = beliefs()
    ours = expected_hypervolume_improvement(mean, sd, FRONTS[name], REFERENCE)
    np.testing.assert_allclose(ours, by_botorch(mean, sd, FRONTS[name]), rtol=1e-6, atol=1e-9)


def test_a_sure_candidate_is_worth_the_volume_that_it_adds() -> None:
    front = np.array([[1.0, 0.0], [0.0, 1.0]])
    sure = np.array([[1.0, 1.0], [0.5, 0.5], [0.0, 0.0], [2.0, -0.5]])
    worth = expected_hypervolume_improvement(sure, np.full((4, 2), 1e-6), front, np.array([-1.0, -1.0]))
    assert worth == pytest.approx([1.0, 0.25, 0.0, 0.5], abs=1e-5)


def test_feasibility_is_the_chance_to_keep_all_limits() -> None:
    mean, sd = np.array([[0.0, 5.0], [0.0, 0.0], [1.0, -1.0]]), np.ones((3, 2))
    one, both = np.array([0.0, -np.inf]), np.array([0.0, 0.0])
    assert np.exp(log_feasibility(mean, sd, one)) == pytest.approx([0.5, 0.5, 0.8413447])
    assert np.exp(log_feasibility(mean, sd, both)) == pytest.approx([0.5, 0.25, 0.1334838], abs=1e-6)


def test_chances_that_are_next_to_nothing_are_told_apart() -> None:
    far = log_feasibility(np.array([[0.0], [1.0]]), np.ones((2, 1)), np.array([100.0]))
    assert far[0] < far[1] < -1000


def test_a_scalarised_gain_is_the_weakest_weighted_one() -> None:
    bounds = np.array([[3.0, 1.0, 2.0], [1.0, 3.0, 3.0], [9.0, 9.0, -2.0]])
    assert scalarised(bounds, np.array([1.0, 0.5, 1.0]), np.zeros(3)).tolist() == [0.5, 1.0, 0.0]


def test_the_upper_confidence_bound_grows_with_what_is_unknown() -> None:
    assert upper_confidence_bound(np.array([1.0, 1.0]), np.array([0.5, 1.0]), 2.0).tolist() == [2.0, 3.0]
