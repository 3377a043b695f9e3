"""`evernas resume`: a cycle that was killed goes on from its record, and only from that."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nas_core.ledger import Ledger
from nas_core.store import FolderStore
from tests.chaos.cycle_faults import kill_with_descendants
from tests.e2e.conftest import ROOT, Evernas
from tests.e2e.specs import TUMOUR, write_spec

pytestmark = pytest.mark.usefixtures("own_key")


def entries(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    return [entry.data for entry in Ledger(FolderStore(folder)).entries(set(kinds))]


def test_a_cycle_killed_with_all_its_processes_goes_on_and_only_as_it_was(
    tmp_path: Path, evernas: Evernas, environment: dict[str, str]
) -> None:
    data = tmp_path / "data.csv"
    data.write_text(TABLE)
    source = {"kind": "csv", "path": str(data)}
    spec = write_spec(
        tmp_path, TUMOUR, task__source=source, search__budget__trials=6, search__estimator__epochs=20, retrain__seeds=1
    )
    root, run = tmp_path / "runs", tmp_path / "runs" / "hurt"
    command = [sys.executable, "-m", "pipelines.cli", "run", str(spec), "--root", str(root), "--run", "hurt"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (run.exists() and len(entries(run, "outcome")) >= 2):
            assert time.monotonic() < deadline, "the search has not begun"
            time.sleep(0.05)
        kill_with_descendants(process)

    data.write_text(TABLE.replace("17.99", "18.99", 1))
    done = evernas("resume", "hurt", "--root", root)
    assert done.returncode == 2
    assert "task.source: the data has another digest" in done.stderr
    data.write_text(TABLE)
    (run / "spec.yaml").write_text((run / "spec.yaml").read_text().replace("trials: 6", "trials: 7"))
    done = evernas("resume", "hurt", "--root", root)
    assert done.returncode == 2
    assert "search.budget.trials: 6 has become 7" in done.stderr
    (run / "spec.yaml").write_text((run / "spec.yaml").read_text().replace("trials: 7", "trials: 6"))

    done = evernas("resume", "hurt", "--root", root, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["decision"] == "promoted"
    assert Counter(outcome["number"] for outcome in entries(run, "outcome")) == dict.fromkeys(range(6), 1)
    assert len(entries(run, "resumed")) == 1
    assert Counter(stage["stage"] for stage in entries(run, "stage")).most_common(1)[0][1] == 1
    before = Ledger(FolderStore(run)).head
    again = evernas("resume", "hurt", "--root", root, "--json")
    assert again.returncode == 0, again.stderr
    assert Ledger(FolderStore(run)).head == before, "what has come to its end is not begun again"
    checked = evernas("audit", "verify", "hurt", "--root", root)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
def test_a_search_stops_at_its_price_and_the_cycle_goes_on(tmp_path: Path, evernas: Evernas) -> None:
    spec = write_spec(
        tmp_path,
        TUMOUR,
        search__budget={"trials": 500, "cost": 0.008},
        search__runner={"kind": "local", "price": {"cpu_hour": 4.0, "currency": "EUR"}},
        retrain__seeds=1,
    )
    done = evernas("run", spec, "--root", tmp_path / "runs", "--run", "dear", "--json")
    assert done.returncode in (0, 3), done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary["decision"] in ("promoted", "blocked"), "the best so far is retrained, audited and judged"
    assert 0.008 <= summary["spent"]["cost"] < 0.02
    assert summary["spent"]["currency"] == "EUR"
    assert 1 < summary["candidates"] < 500
    assert "EUR" in done.stderr


def _table() -> str:
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer(as_frame=True).frame
    text: str = table.to_csv(index=False)
    return text


TABLE = _table()
