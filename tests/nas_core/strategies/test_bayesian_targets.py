"""What the model learns from results: their scale, and what stands for results that are missing."""

from __future__ import annotations

import numpy as np
import pytest

from nas_core.strategies._targets import Scale, finished, values
from nas_core.types import Metrics, Objective, Status, Trial

UP = Objective(metric="score", goal="max")
DOWN = Objective(metric="score", goal="min")
FIGURES = np.array([90.0, 91.0, 91.5, 10.0, 85.0])


def trial(number: int, status: Status, metrics: Metrics | None = None, ended: int | None = None) -> Trial:
    return Trial(number=number, architecture=(number,), status=status, metrics=metrics, finished=ended)


def test_targets_are_standardised_and_keep_the_order() -> None:
    targets = Scale(FIGURES, UP)(FIGURES)
    assert targets.mean() == pytest.approx(0)
    assert targets.std() == pytest.approx(1)
    assert (np.argsort(targets) == np.argsort(FIGURES)).all()


def test_the_best_are_told_apart_and_the_worst_lie_close() -> None:
    targets = Scale(FIGURES, UP)(FIGURES)
    assert targets[2] - targets[1] > 0.2 * (targets[0] - targets[3])


def test_the_goal_min_mirrors_the_goal_max() -> None:
    np.testing.assert_allclose(Scale(FIGURES, UP)(FIGURES), Scale(-FIGURES, DOWN)(-FIGURES))


@pytest.mark.parametrize("objective", [UP, DOWN])
@pytest.mark.parametrize("figure", [-50.0, 10.0, 88.0, 91.5, 120.0])
def test_a_value_is_found_again_by_its_target(objective: Objective, figure: float) -> None:
    scale = Scale(FIGURES, objective)
    assert scale.value(float(scale(np.array(figure)))) == pytest.approx(figure)


@pytest.mark.parametrize(
    "figures", [np.zeros(0), np.array([3.0]), np.array([3.0, 3.0, 3.0]), np.array([3.0, 3.0, 1.0])]
)
def test_few_or_equal_results_have_finite_targets(figures: np.ndarray) -> None:
    assert np.isfinite(Scale(figures, UP)(np.append(figures, 7.0))).all()


def test_what_failed_counts_as_the_worst_and_a_pruned_report_as_a_result() -> None:
    trials = [
        trial(0, Status.OK, {"score": 3.0}),
        trial(1, Status.FAILED),
        trial(2, Status.PRUNED, {"score": 1.0}),
        trial(3, Status.INFEASIBLE),
        trial(4, Status.PRUNED, {"loss": 0.1}),
    ]
    assert values(trials, UP).tolist() == [3, 1, 1, 1, 1]
    assert values(trials, DOWN).tolist() == [3, 3, 1, 3, 3]


def test_where_nothing_was_measured_all_are_alike() -> None:
    assert values([trial(0, Status.FAILED), trial(1, Status.FAILED)], UP).tolist() == [0, 0]


def test_trials_are_taken_in_the_order_of_their_end_without_those_that_tell_nothing() -> None:
    low = Trial(number=4, architecture=(4,), fidelity=0.5, status=Status.OK, finished=4, metrics={"score": 1.0})
    trials = [
        trial(0, Status.OK, {"score": 1.0}, ended=3),
        trial(1, Status.PENDING),
        trial(2, Status.LOST, ended=1),
        trial(3, Status.FAILED, ended=2),
        low,
    ]
    assert [t.number for t in finished(trials)] == [3, 0]
