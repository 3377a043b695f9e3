"""One whole cycle on census rows through Kubeflow's local runner, Ray Tune, MLflow and ONNX Runtime."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.sources import read
from components.spec import BuiltinSource
from nas_core.ledger import Entry, Ledger
from nas_core.store import FolderStore
from tests.e2e.conftest import ROOT, Evernas
from tests.e2e.specs import CENSUS, write_spec


@dataclass
class Cycle:
    """A finished run, and what its parts say."""

    spec: Path
    root: Path
    folder: Path
    output: str
    summary: dict[str, Any]

    @property
    def entries(self) -> list[Entry]:
        return list(Ledger(FolderStore(self.folder)).entries())


@pytest.fixture(scope="module")
def cycle(tmp_path_factory: pytest.TempPathFactory, evernas: Evernas) -> Cycle:
    folder = tmp_path_factory.mktemp("cycle")
    spec, root = write_spec(folder, CENSUS), folder / "runs"
    done = evernas("run", spec, "--root", root)
    assert done.returncode == 0, done.stdout + done.stderr
    latest = (root / "latest").resolve()
    return Cycle(spec, root, latest, done.stdout, json.loads((latest / "summary.json").read_text()))


@pytest.fixture(scope="module")
def tracked(cycle: Cycle) -> tuple[Any, list[Any]]:
    """The cycle's run in MLflow, and its children."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{cycle.root}/mlflow.db")
    experiment = client.get_experiment_by_name("census")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return parent, [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


def test_the_challenger_is_promoted_and_the_summary_says_so(cycle: Cycle) -> None:
    summary = cycle.summary
    assert (summary["decision"], summary["exit_code"], summary["candidates"]) == ("promoted", 0, 6)
    accuracy = summary["champion"]["test_accuracy"]
    assert len(accuracy["seeds"]) == 2
    assert accuracy["mean"] == pytest.approx(sum(accuracy["seeds"]) / 2)
    assert 0.8 < accuracy["mean"] < summary["baseline"]["test_accuracy"] + 0.02
    assert 0.86 < summary["baseline"]["test_accuracy"] < 0.88
    assert summary["champion"]["params"] <= 200_000
    assert summary["champion"]["latency_ms"] > 0
    assert summary["fairness"].keys() == {"sex", "age", "sex & age"}
    assert 0 < summary["seconds"]["search"] < summary["seconds"]["total"]


def test_a_person_reads_the_result_at_the_end(cycle: Cycle) -> None:
    for words in ("Architecture search", "PROMOTED", "HistGradientBoostingClassifier", "evernas ui", "evernas serve"):
        assert words in cycle.output
    assert "\x1b" not in cycle.output


def test_ledger_mlflow_and_report_count_the_same_candidates(cycle: Cycle, tracked: tuple[Any, list[Any]]) -> None:
    outcomes = [entry for entry in cycle.entries if entry.kind == "outcome"]
    rows = re.findall(r'<th scope="row" class="n" data-v="(\d+)"', (cycle.folder / "report.html").read_text())
    assert len(outcomes) == len(tracked[1]) == len(rows) == cycle.summary["candidates"] == 6


def test_every_candidate_in_mlflow_has_the_hash_of_its_outcome(cycle: Cycle, tracked: tuple[Any, list[Any]]) -> None:
    hashes = {str(e.data["number"]): (str(e.seq), e.hash) for e in cycle.entries if e.kind == "outcome"}
    assert {
        run.data.tags["evernas.trial"]: (run.data.tags["evernas.ledger_seq"], run.data.tags["evernas.ledger_hash"])
        for run in tracked[1]
    } == hashes
    assert {run.info.status for run in tracked[1]} == {"FINISHED"}


def test_the_cycle_in_mlflow_has_its_data_figures_and_end(cycle: Cycle, tracked: tuple[Any, list[Any]]) -> None:
    parent, _ = tracked
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["evernas.decision"] == "promoted"
    assert parent.data.tags["evernas.ledger_hash"] == cycle.summary["ledger"]["head"]
    assert len(parent.inputs.dataset_inputs) == 1
    assert parent.data.metrics["test_accuracy_mean"] == cycle.summary["champion"]["test_accuracy"]["mean"]
    artifacts = cycle.root / "mlartifacts" / "census" / parent.info.run_id / "artifacts"
    assert (artifacts / "report.html").read_bytes() == (cycle.folder / "report.html").read_bytes()
    assert list((artifacts / "figures").glob("*.png"))


def test_no_search_entry_comes_from_rows_that_the_search_must_not_see(cycle: Cycle) -> None:
    reports = [entry.data["metrics"] for entry in cycle.entries if entry.kind in ("report", "outcome")]
    assert reports
    assert not {name for metrics in reports for name in metrics if "test" in name or "audit" in name}


def test_the_promotion_is_on_record_before_the_pointer_changed(cycle: Cycle) -> None:
    pointer = json.loads((cycle.root / "champions" / "census" / "champion.json").read_text())
    kinds = [entry.kind for entry in cycle.entries if entry.kind != "seal"]
    [promotion] = [entry for entry in cycle.entries if entry.kind == "promotion"]
    assert promotion.data == {"digest": pointer["digest"], "previous": None}
    assert promotion.time[:19] <= pointer["promoted_at"][:19]
    assert kinds[-4:] == ["promotion", "stage", "end", "published"]


def test_the_record_verifies_wherever_it_lies(cycle: Cycle, evernas: Evernas, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(cycle.folder, copy)
    for name in ("latest", cycle.folder.name, copy):
        done = evernas("audit", "verify", name, "--root", cycle.root, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert (found["entries"], found["head"]) == (len(cycle.entries), cycle.entries[-1].hash)
        assert cycle.summary["ledger"]["head"] == cycle.entries[cycle.summary["ledger"]["entries"] - 1].hash
        assert found["own_key"]


@pytest.mark.parametrize("kind", ["cycle", "outcome", "end"])
def test_one_changed_byte_is_found_and_its_entry_named(
    cycle: Cycle, evernas: Evernas, tmp_path: Path, kind: str
) -> None:
    copy = tmp_path / "tampered"
    shutil.copytree(cycle.folder, copy)
    wanted = next(entry for entry in cycle.entries if entry.kind == kind)
    [path] = [p for p in (copy / "ledger").rglob("*.jsonl") if f'"seq":{wanted.seq},' in p.read_text()]
    lines = path.read_text().splitlines(keepends=True)
    index = next(i for i, line in enumerate(lines) if line.startswith(f'{{"seq":{wanted.seq},'))
    position = lines[index].index('"data":') + 10
    other = "x" if lines[index][position] != "x" else "y"
    lines[index] = lines[index][:position] + other + lines[index][position + 1 :]
    path.write_text("".join(lines))
    done = evernas("audit", "verify", copy)
    assert done.returncode == 5
    assert f"entry {wanted.seq}:" in done.stderr


def test_a_changed_file_of_a_stage_is_found(cycle: Cycle, evernas: Evernas, tmp_path: Path) -> None:
    copy = tmp_path / "tampered"
    shutil.copytree(cycle.folder, copy)
    path = copy / "fairness" / "fairness.json"
    path.write_text(path.read_text().replace("0", "1", 1))
    done = evernas("audit", "verify", copy)
    assert done.returncode == 5
    assert "fairness.json: differs from what entry" in done.stderr


def test_without_drift_the_next_cycle_stops_and_the_champion_stays(cycle: Cycle, evernas: Evernas) -> None:
    pointer = (cycle.root / "champions" / "census" / "champion.json").read_bytes()
    done = evernas("run", cycle.spec, "--root", cycle.root, "--run", "calm", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["decision"], summary["candidates"]) == ("no drift", 0)
    assert (cycle.root / "champions" / "census" / "champion.json").read_bytes() == pointer
    assert (cycle.root / "latest").resolve().name == "calm"


def test_drift_has_an_exit_code_of_its_own(cycle: Cycle, evernas: Evernas, tmp_path: Path) -> None:
    rows = read(BuiltinSource(kind="builtin", name="adult"), Path()).sample(2000, random_state=1)
    same, older, few = (tmp_path / f"{name}.parquet" for name in ("same", "older", "few"))
    rows.to_parquet(same)
    pd.DataFrame(rows.assign(age=rows["age"] + 10)).to_parquet(older)
    rows.head(20).to_parquet(few)
    answers = {}
    for window in (same, older, few):
        done = evernas("drift", cycle.spec, "--root", cycle.root, "--window", window, "--json")
        answers[window.stem] = (done.returncode, json.loads(done.stdout)["verdict"])
    assert answers == {"same": (0, "no drift"), "older": (10, "drift"), "few": (0, "insufficient data")}


def test_the_champion_is_served_until_it_is_told_to_stop(cycle: Cycle, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pipelines.cli", "serve", "census", "--root", str(cycle.root), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        row = read(BuiltinSource(kind="builtin", name="adult"), Path()).dropna().iloc[0]
        with urllib.request.urlopen(f"{address}/v2/models/census") as answer:  # noqa: S310  our own server
            asked = json.load(answer)["inputs"]
        inputs = [{**tensor, "shape": [1], "data": [_value(row[tensor["name"]])]} for tensor in asked]
        request = urllib.request.Request(  # noqa: S310  our own server
            f"{address}/v2/models/census/infer", json.dumps({"inputs": inputs}).encode()
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310  our own server
            outputs = {tensor["name"]: tensor["data"] for tensor in json.load(answer)["outputs"]}
        server.send_signal(signal.SIGTERM)
        server.wait(20)
    assert outputs["label"] in (["<=50K"], [">50K"])
    assert sum(outputs["probabilities"]) == pytest.approx(1, abs=1e-5)


def _value(value: Any) -> Any:
    return value if isinstance(value, str) else float(value)
