"""The example of two tasks with one trunk, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.e2e.conftest import ROOT

SEARCHES = {"one trunk": {"fashion", "digit"}, "fashion alone": {"fashion"}, "digit alone": {"digit"}}


def run(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "examples/multi_task/search.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_one_trunk_and_two_single_networks_are_searched_trained_and_tested(
    data: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    files = ("--fashion", data / "fashion_mnist_small.npz", "--digits", data / "fsdd_small.npz")
    done = run(environment, *files, "--preset", "small", "--limit", 50_000, "--json", tmp_path / "result.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split("  ")[0] for line in done.stdout.splitlines()[-4:]] == ["network", *SEARCHES]
    result = json.loads((tmp_path / "result.json").read_text())
    for name, tasks in SEARCHES.items():
        found = result[name]
        assert set(found["test"]) == tasks
        assert all(0 <= accuracy <= 1 for each in found["test"].values() for accuracy in each)
        assert found["params"] <= 50_000 / (3 - len(tasks))
    assert {"pooling_fashion", "pooling_digit"} <= set(result["one trunk"]["architecture"])


def test_a_file_that_is_not_the_data_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    done = run(environment, "--fashion", tmp_path / "other.npz", "--digits", tmp_path / "other.npz")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'other.npz'}: must be an npz file with x_train, y_train")
