"""The benchmark itself: its figures on curves that can be counted by hand, and the program at a tiny size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import curves
import pytest
from learning_curves import Trained

from nas_core.types import Objective

ACCURACY = (Objective(metric="accuracy", goal="max"),)


def made(*ends: float, epochs: int = 4) -> list[Trained]:
    return [
        Trained((i,), tuple({"accuracy": end - 0.1 / step} for step in range(1, epochs + 1)))
        for i, end in enumerate(ends)
    ]


class After:
    """Stops all but trial 0 after step 1."""

    def stop(self, _: object, number: int) -> bool:
        return number > 0


def test_what_is_saved_and_lost_is_counted() -> None:
    given = made(0.5, 0.6, 0.7)
    trials = curves.replayed(given, 0, ACCURACY, After())
    found = curves.outcome(trials, given, ACCURACY)
    assert found["epochs_saved"] == pytest.approx(6 / 12)
    first = given[trials[0].architecture[0]].curve[-1]["accuracy"]
    assert found["accuracy_lost"] == pytest.approx(100 * (0.7 - 0.025 - first))


def test_every_seed_meets_all_curves_in_an_order_of_its_own() -> None:
    given = made(0.5, 0.6, 0.7, 0.8, 0.9)
    orders = [[t.architecture[0] for t in curves.replayed(given, seed, ACCURACY, After())] for seed in range(4)]
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


@pytest.mark.slow
def test_the_program_trains_once_and_writes_what_came_out(tmp_path: Path) -> None:
    command = [sys.executable, str(curves.__file__), "--folder", str(tmp_path / "kept"), "--data", "adult"]
    command += ["--trials", "3", "--epochs", "3", "--seeds", "2", "--json"]
    told = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout)["data"]["adult"])
    assert told[0] == told[1]
    assert told[0]["methods"].keys() == {"curve", "asha", "median"}
    for row in told[0]["methods"].values():
        assert 0 <= row["epochs_saved"] < 1
        assert row["accuracy_lost"] >= 0
    assert told[0]["curves"] == 3
