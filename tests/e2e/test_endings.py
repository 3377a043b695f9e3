"""Cycles that end in other ways than with a new champion: interrupted, blocked, failed, or without MLflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nas_core.ledger import Ledger
from nas_core.store import FolderStore
from tests.e2e.conftest import ROOT, Evernas
from tests.e2e.specs import TUMOUR, write_spec

pytestmark = pytest.mark.usefixtures("own_key")


def entries(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [entry.data for entry in Ledger(FolderStore(folder)).entries({kind})]


def status_in_mlflow(root: Path, experiment: str, run: str) -> list[str]:
    """The statuses of the cycle's run and of its children."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id], f"tags.`evernas.run` = '{run}'", max_results=1000)
    return [run.info.status for run in sorted(runs, key=lambda run: "mlflow.parentRunId" in run.data.tags)]


def processes_with(text: str) -> list[str]:
    """The command lines of running processes that mention `text`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it has ended meanwhile
                continue
            if text in command:
                found.append(command)
    return found


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_an_interrupted_cycle_is_on_record_and_goes_on_where_it_ended(
    tmp_path: Path, evernas: Evernas, environment: dict[str, str], number: signal.Signals, code: int
) -> None:
    spec = write_spec(
        tmp_path, TUMOUR, search__budget__trials=12, search__estimator__epochs=30, retrain__options={"epochs": 20}
    )
    root, run = tmp_path / "runs", tmp_path / "runs" / "broken"
    arguments = ["run", str(spec), "--root", str(root), "--run", "broken"]
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (run.exists() and len(entries(run, "outcome")) >= 2):
            assert time.monotonic() < deadline, "the search has not begun"
            assert process.poll() is None, "the run ended too early"
            time.sleep(0.05)
        process.send_signal(number)
        output, _ = process.communicate(timeout=90)
    assert process.returncode == code, output
    assert "INTERRUPTED" in output
    assert json.loads((run / "summary.json").read_text())["exit_code"] == code
    assert processes_with(str(root)) == []
    assert evernas("audit", "verify", "broken", "--root", root).returncode == 0
    assert status_in_mlflow(root, "tumour", "broken")[0] == "KILLED"
    before = [outcome["number"] for outcome in entries(run, "outcome")]
    assert len(before) < 12
    if number == signal.SIGTERM:  # what follows is the same for both, and takes its time
        return

    done = evernas(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(outcome["number"] for outcome in entries(run, "outcome")) == list(range(12))
    assert status_in_mlflow(root, "tumour", "broken") == ["FINISHED"] * 13


def test_a_gate_blocks_and_nothing_is_deployed_until_somebody_lets_it_pass(tmp_path: Path, evernas: Evernas) -> None:
    spec, root = write_spec(tmp_path, TUMOUR, deploy={"max_size_mb": 0.0001}), tmp_path / "runs"
    done = evernas("run", spec, "--root", root, "--run", "blocked", "--json")
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["decision"], summary["exit_code"]) == ("blocked", 3)
    assert "size" in summary["reason"]
    assert not (root / "champions" / "tumour" / "champion.json").exists()
    assert entries(root / "blocked", "promotion") == []

    write_spec(tmp_path, TUMOUR)
    done = evernas("run", spec, "--root", root, "--run", "blocked")
    assert done.returncode == 2
    assert "was begun with another spec" in done.stderr

    assert evernas("waive", "blocked", "size", "--reason", "there is room", "--root", root).returncode == 0
    done = evernas("resume", "blocked", "--root", root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (root / "champions" / "tumour" / "champion.json").exists()
    assert [each["decision"] for each in entries(root / "blocked", "end")] == ["blocked", "promoted"]
    assert evernas("audit", "verify", "blocked", "--root", root).returncode == 0
    done = evernas("rollback", "tumour", "--reason", "too slow", "--root", root)
    assert done.returncode == 2
    assert "the champion is the first of its name" in done.stderr


@pytest.mark.slow
def test_without_mlflow_the_cycle_is_run_and_what_is_missing_comes_later(tmp_path: Path, evernas: Evernas) -> None:
    spec = write_spec(tmp_path, TUMOUR, tracking={"kind": "mlflow", "uri": "http://127.0.0.1:9"})
    root = tmp_path / "runs"
    done = evernas("run", spec, "--root", root, "--run", "alone")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MLflow" in done.stdout
    assert len(entries(root / "alone", "outcome")) == 3


def test_a_search_that_nothing_satisfies_says_what_came_nearest(tmp_path: Path, evernas: Evernas) -> None:
    objectives = [{"metric": "accuracy", "goal": "max"}, {"metric": "params", "goal": "min", "limit": 2}]
    spec, root = write_spec(tmp_path, TUMOUR, search__objectives=objectives), tmp_path / "runs"
    done = evernas("run", spec, "--root", root, "--run", "narrow", "--json")
    assert done.returncode == 2, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert (summary["decision"], summary["error"]["stage"]) == ("failed", "search")
    assert "params <= 2" in summary["reason"]
    assert "nearest" in summary["reason"]
    assert status_in_mlflow(root, "tumour", "narrow")[0] == "FAILED"
