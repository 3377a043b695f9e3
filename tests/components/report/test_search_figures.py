from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from components.report import search_figures
from components.report.theme import Drawn
from nas_core.types import Objective, Status, Trial

ACCURACY = Objective(metric="accuracy", goal="max")
SIZE = Objective(metric="params", goal="min", limit=100)
LOSS = Objective(metric="log_loss", goal="min")


def trial(number: int, accuracy: float, params: float = 10, finished: int | None = None) -> Trial:
    return Trial(
        number=number,
        architecture=(number,),
        status=Status.OK,
        finished=number if finished is None else finished,
        metrics={"accuracy": accuracy, "params": params, "log_loss": 1 - accuracy},
        cost_seconds=1.0,
    )


def labels(drawn: Drawn | None) -> list[str]:
    assert drawn is not None
    return [text.get_text() for text in drawn.figure.legends[0].get_texts()]


def step(drawn: Drawn | None) -> list[tuple[float, float]]:
    """Return the corners of the only stepped line."""
    assert drawn is not None
    [line] = [line for line in drawn.figure.axes[0].lines if line.get_drawstyle().startswith("steps")]
    return list(zip(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist(), strict=True))


def test_without_trials_there_are_no_figures() -> None:
    pending = [Trial(number=0, architecture=(0,))]
    assert search_figures.anytime(pending, [ACCURACY]) is None
    assert search_figures.trade_off(pending, [ACCURACY], None) is None


def test_the_best_so_far_follows_the_order_in_which_trials_ended() -> None:
    trials = [trial(0, 0.7, finished=2), trial(1, 0.8, finished=0), trial(2, 0.9, finished=1)]
    assert step(search_figures.anytime(trials, [ACCURACY])) == [(1, 0.8), (2, 0.9), (3, 0.9)]


def test_the_best_so_far_keeps_the_limits() -> None:
    trials = [trial(0, 0.7), trial(1, 0.9, params=101), trial(2, 0.8)]
    assert step(search_figures.anytime(trials, [ACCURACY, SIZE])) == [(1, 0.7), (3, 0.8), (3, 0.8)]


def test_the_best_so_far_falls_where_less_is_better() -> None:
    assert step(search_figures.anytime([trial(0, 0.7), trial(1, 0.8)], [LOSS]))[1][1] == pytest.approx(0.2)


def test_every_status_is_marked_and_counted() -> None:
    failed = Trial(number=3, architecture=(3,), status=Status.FAILED, finished=3, error="nan")
    pruned = Trial(number=4, architecture=(4,), status=Status.PRUNED, finished=4, metrics={"accuracy": 0.6})
    part = Trial(number=5, architecture=(5,), fidelity=0.5, status=Status.OK, finished=5, metrics=trial(0, 0.5).metrics)
    trials = [trial(0, 0.7), trial(1, 0.9, params=101), trial(2, 0.8), failed, pruned, part]
    found = set(labels(search_figures.anytime(trials, [ACCURACY, SIZE])))
    assert {"evaluated (2)", "beyond a limit (1)", "failed (1)", "pruned (1)", "partly trained (1)"} <= found


def test_a_pruned_trial_may_lack_the_first_objective() -> None:
    pruned = Trial(number=1, architecture=(1,), status=Status.PRUNED, finished=1, metrics={"log_loss": 0.6})
    assert "evaluated (1)" in labels(search_figures.anytime([trial(0, 0.7), pruned], [ACCURACY]))


def test_the_front_is_a_staircase_of_what_can_be_had() -> None:
    trials = [trial(0, 0.7, 10), trial(1, 0.8, 40), trial(2, 0.75, 50), trial(3, 0.9, 90), trial(4, 0.99, 200)]
    drawn = search_figures.trade_off(trials, [ACCURACY, SIZE], champion=3)
    assert step(drawn) == [(10, 0.7), (40, 0.8), (90, 0.9)]
    assert {"front (3)", "chosen: trial 3", "beyond a limit (1)", "limit of parameters"} <= set(labels(drawn))


def test_a_single_objective_is_drawn_against_the_size_or_else_the_cost() -> None:
    sized = search_figures.trade_off([trial(0, 0.7), trial(1, 0.8)], [ACCURACY], None)
    bare = [Trial(number=0, architecture=(0,), status=Status.OK, finished=0, metrics={"accuracy": 0.7})]
    assert sized is not None
    assert sized.figure.axes[0].get_xlabel() == "parameters"
    costly = search_figures.trade_off(bare, [ACCURACY], None)
    assert costly is not None
    assert costly.figure.axes[0].get_xlabel() == "cost (s)"


def test_a_limit_far_from_all_figures_does_not_squeeze_them() -> None:
    far = Objective(metric="params", goal="min", limit=1e9)
    drawn = search_figures.trade_off([trial(0, 0.7, 10), trial(1, 0.8, 20)], [ACCURACY, far], None)
    assert drawn is not None
    assert drawn.figure.axes[0].get_xlim()[1] < 100


# ---------------------------------------------------------------- rungs


def climbed(number: int, *accuracies: float, fidelities: tuple[float, ...] = (1 / 9, 1 / 3, 1.0)) -> list[Trial]:
    """Return the trials of one architecture at rising fidelities."""
    return [
        replace(trial(number, accuracy), fidelity=fidelity)
        for fidelity, accuracy in zip(fidelities, accuracies, strict=False)
    ]


def titles(drawn: Drawn | None) -> list[str]:
    assert drawn is not None
    return [axes.get_title(loc="left") for axes in drawn.figure.axes]


def test_rungs_are_drawn_with_their_rank_correlation_and_how_many_it_is_of() -> None:
    trials = [t for i in range(8) for t in climbed(i, 0.1 * i, 0.5 + 0.05 * (i if i < 6 else 13 - i), 0.9 - 0.01 * i)]
    drawn = search_figures.rungs(trials, [ACCURACY])
    one, two = ([(t.metrics or {})["accuracy"] for t in trials[i::3]] for i in (0, 1))
    low = spearmanr(one, two)
    assert titles(drawn) == [f"ρ = {low.statistic:.2f}, n = 8", titles(drawn)[1]]
    assert titles(drawn)[1].startswith("ρ = \N{MINUS SIGN}0.")
    assert drawn is not None
    assert "from 11 % to 33 %" in drawn.title
    assert "(8 architectures)" in drawn.title


def test_rungs_compare_architectures_that_both_have() -> None:
    trials = [t for i in range(9) for t in climbed(i, 0.1 * i, *([0.1 * i] if i >= 3 else []))]
    assert titles(search_figures.rungs(trials, [ACCURACY])) == ["ρ = 1.00, n = 6"]


def test_too_few_shared_architectures_are_not_drawn() -> None:
    few = [t for i in range(4) for t in climbed(i, 0.1 * i, 0.1 * i)]
    assert search_figures.rungs(few, [ACCURACY]) is None
    assert search_figures.rungs([trial(i, 0.1 * i) for i in range(9)], [ACCURACY]) is None


def test_what_failed_lacks_the_metric_or_is_of_an_earlier_search_is_on_no_rung() -> None:
    trials = [t for i in range(6) for t in climbed(i, 0.1 * i, 0.1 * i)]
    spoilt: dict[int, dict[str, Any]] = {
        0: {"status": Status.FAILED, "metrics": None},
        2: {"metrics": {"params": 1.0}},
        4: {"origin": "before#4"},
    }
    assert search_figures.rungs([replace(t, **spoilt.get(i, {})) for i, t in enumerate(trials)], [ACCURACY]) is None


def test_equal_figures_have_no_rank_correlation() -> None:
    trials = [t for i in range(6) for t in climbed(i, 0.5, 0.1 * i)]
    assert titles(search_figures.rungs(trials, [ACCURACY])) == ["ρ = –, n = 6"]
