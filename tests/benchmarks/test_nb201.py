"""The benchmark itself: its figures on a table that can be counted by hand, and what it says of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nb201
import numpy as np
import pytest
from peers import OptunaPlayer, is_ordered
from searches import Problem, Run, StrategyPlayer, as_priors, play, record, summary

from nas_core.strategies.random import Random
from nas_core.types import Decision

TABLES = Path(__file__).with_name("tables")
WIDTHS = ["1", "2", "4", "8"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four architectures; the last is the best on validation rows, the second on test rows."""
    path = tmp_path / "four.npz"
    arrays: Any = {"toy/accuracy": np.array([0.1, 0.2, 0.3, 0.5]), "toy/test_accuracy": np.array([0.0, 0.9, 0.2, 0.4])}
    np.savez(
        path,
        architectures=np.arange(4, dtype=np.uint8)[:, None],
        decision_names=np.array(["width"]),
        options=np.array(json.dumps([WIDTHS])),
        **arrays,
    )
    return path


@pytest.fixture
def problem(table: Path) -> Problem:
    return Problem(str(table), "toy", "accuracy", "test_accuracy")


# ---------------------------------------------------------------- figures


def test_the_optimum_counts_from_one_and_figures_are_those_of_the_best_so_far(problem: Problem) -> None:
    order = [0] * 24 + [2, 1, 3] + [0] * 23
    told = record(problem, Run([(i,) for i in order], [0.0] * 50), budget=50)
    assert told["found"] == 27
    assert told["regret"] == {"25": pytest.approx(0.2), "50": 0.0}
    assert told["test"] == {"25": 0.2, "50": 0.4}


def test_a_search_that_ended_early_keeps_its_winner(problem: Problem) -> None:
    told = record(problem, Run([(0,), (1,)], [0.0] * 2), budget=25)
    assert told["found"] is None
    assert told["regret"] == {"25": pytest.approx(0.3)}


def test_a_metric_that_is_to_be_small_has_its_optimum_at_the_least(table: Path) -> None:
    small = Problem(str(table), "toy", "accuracy", "test_accuracy", goal="min")
    assert small.regret((0,)) == 0
    assert small.regret((3,)) == pytest.approx(0.4)
    assert small.better((2,), (1,)) == (1,)


def test_a_seed_that_does_not_find_the_optimum_counts_as_the_budget() -> None:
    records: list[dict[str, Any]] = [
        {"found": n, "regret": {}, "test": {}, "seconds": [1.0, 3.0]} for n in (10, None, 20)
    ]
    told = summary(records, budget=100)
    assert told["evaluations_to_optimum"] == {"median": 20, "q25": 15, "q75": 60, "q90": 84, "found": 2}
    assert told["seconds_per_proposal"] == {"median": 2, "mean": 2, "last_50": 2}


# ---------------------------------------------------------------- playing


def test_trials_of_a_batch_are_pending_until_they_are_told(problem: Problem) -> None:
    player = StrategyPlayer(Random(problem.space, [problem.objective], 0))
    player.ask(3)
    assert [trial.metrics for trial in player.history] == [None] * 3
    run = play(problem, StrategyPlayer(Random(problem.space, [problem.objective], 0)), budget=10, batch=3)
    assert sorted(run.evaluated) == [(0,), (1,), (2,), (3,)]


def test_a_budget_of_seconds_leaves_out_the_trial_that_would_exceed_it(data: Path) -> None:
    problem = Problem(str(data / "nb201.npz"), "cifar10", "accuracy", "test_accuracy", fidelity=12 / 200)
    run = play(problem, StrategyPlayer(Random(problem.space, [problem.objective], 0)), budget=500, seconds=1000)
    spent = [problem.metrics(architecture)["train_seconds"] for architecture in run.evaluated]
    assert 800 < sum(spent) <= 1000
    assert max(spent) < 300


def test_a_search_may_end_at_the_optimum(problem: Problem) -> None:
    for seed in range(5):
        player = StrategyPlayer(Random(problem.space, [problem.objective], seed))
        run = play(problem, player, budget=10, until_found=True)
        assert run.evaluated.index((3,)) == len(run.evaluated) - 1


def test_a_search_after_another_one_has_a_whole_budget_of_its_own(table: Path) -> None:
    command = ["--table", str(table), "--dataset", "toy", "--strategy", "random", "--prior", "toy", "--budget", "4"]
    assert nb201.search(nb201.arguments(command), 0)["found"] is not None


def test_priors_are_finished_trials_with_an_origin(problem: Problem) -> None:
    player = StrategyPlayer(Random(problem.space, [problem.objective], 0))
    play(problem, player, budget=3)
    priors = as_priors(player.history, "toy", first=5)
    assert [(trial.number, trial.finished, trial.origin) for trial in priors] == [
        (5, 5, "toy#0"),
        (6, 6, "toy#1"),
        (7, 7, "toy#2"),
    ]


def test_peers_are_told_which_options_are_ordered() -> None:
    assert is_ordered(Decision(name="a", options=("1", "2"), attributes=((1.0,), (2.0,))))
    assert not is_ordered(Decision(name="a", options=("2", "1"), attributes=((2.0,), (1.0,))))
    assert not is_ordered(Decision(name="a", options=("x", "y"), attributes=((1.0, 0.0), (2.0, 0.0))))
    assert not is_ordered(Decision(name="a", options=("x", "y")))


def test_optuna_plays_the_same_game(problem: Problem) -> None:
    pytest.importorskip("optuna")
    run = play(problem, OptunaPlayer("optuna-tpe", problem, 0), budget=20, batch=4)
    assert len(run.evaluated) == 20
    assert (3,) in run.evaluated


# ---------------------------------------------------------------- the program


def test_the_program_writes_what_the_seeds_came_to(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = ["--table", table, "--dataset", "toy", "--strategy", "random", "--budget", "30", "--seeds", "3"]
    done = subprocess.run(
        [sys.executable, str(nb201.__file__), *map(str, command), "--json", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(out.read_text())
    assert told["evaluations_to_optimum"]["found"] == 3
    assert 1 <= told["evaluations_to_optimum"]["median"] <= 4
    assert told["regret"] == {"25": {"mean": 0.0, "std": 0.0, "median": 0.0}}
    assert told["test_accuracy"]["25"]["mean"] == pytest.approx(0.4)
    assert told["seconds_per_proposal"].keys() == {"median", "mean", "last_50"}
    assert told["settings"]["seeds"] == 3
    assert "peers" not in told


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--strategy", "randm"], "unknown name 'randm'"),
        (["--option", "popularity=3"], "unknown key 'popularity'"),
        (["--dataset", "boy"], "dataset: unknown name 'boy', expected one of toy"),
        (["--metric", "accurancy"], "did you mean 'accuracy'"),
        (["--table", "nothing.npz"], "nothing.npz: no such file"),
        (["--budget", "0"], "must be >= 1, got 0"),
    ],
)
def test_bad_input_is_told_and_ends_with_exit_code_2(
    table: Path, changed: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--table", str(table), "--dataset", "toy", "--strategy", "random", "--seeds", "1", *changed]
    try:
        code: object = nb201.main(arguments)
    except SystemExit as error:  # how argparse ends
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.npz")), ids=lambda path: path.stem)
def test_the_tables_here_are_whole_and_have_one_best_row(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        (dataset,) = {name.partition("/")[0] for name in file.files if "/" in name}
        losses = file[f"{dataset}/log_loss"]
    assert Problem(str(path), dataset, "log_loss", "test_log_loss", goal="min")
    assert (losses == losses.min()).sum() == 1
