"""An auditor at the command line: check a run, read a candidate's life, take the record along, train once more."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.specs import TUMOUR, write_spec

Evernas = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def root(evernas: Evernas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    spec = write_spec(folder, TUMOUR)
    done = evernas("run", spec, "--root", folder / "runs", "--run", "one", "--force", "--json")
    assert done.returncode in (0, 3), done.stderr
    return folder / "runs"


def told(done: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_the_run_is_in_order_with_its_anchors_files_and_mlflow(root: Path, evernas: Evernas) -> None:
    found = told(evernas("audit", "verify", "latest", "--root", root, "--mlflow", "--json"))
    assert found["trusted"] == "the key of the oldest anchor"
    assert found["anchors"]["newest"] == found["entries"] - 1
    assert found["mlflow"] == {"checked": 3, "behind": 0, "differences": []}
    words = evernas("audit", "verify", "one", "--root", root, "--no-mlflow").stdout
    for line in (f"{found['entries']} entries, head {found['head']}", "anchors agree", "files are as recorded"):
        assert line in words


def test_what_is_wrong_is_named_and_has_its_exit_code(root: Path, evernas: Evernas, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root / "one", copy)
    (copy / "summary.json").write_text("{}")
    (copy / "fairness" / "fairness.json").unlink()
    done = evernas("audit", "verify", copy, "--no-mlflow")
    assert done.returncode == 5
    assert done.stderr.startswith("error: 2 things are not as they were recorded:\n- ")
    for words in ("summary.json: differs from what entry", "fairness.json: missing, though entry"):
        assert words in done.stderr


def test_a_run_that_has_gone_is_not_forgotten(root: Path, evernas: Evernas) -> None:
    moved = (root / "one").rename(root.parent / "moved")
    done = evernas("audit", "verify", "one", "--root", root)
    moved.rename(root / "one")
    assert done.returncode == 5
    assert "run one: has no ledger, though one was anchored" in done.stderr
    assert evernas("audit", "verify", "seven", "--root", root).returncode == 2


def test_the_life_of_the_chosen_candidate(root: Path, evernas: Evernas) -> None:
    summary = json.loads((root / "one" / "summary.json").read_text())
    identity = summary["champion"]["architecture_id"]
    story = told(evernas("audit", "show", f"latest#{identity}", "--root", root, "--json"))
    assert (story["candidate"]["architecture_id"], story["standing"]["verdict"]) == (identity, "chosen")
    words = evernas("audit", "show", str(story["candidate"]["trial"]), "--root", root).stdout
    assert words.startswith(f"Trial {story['candidate']['trial']} of run one, architecture {identity}\n")
    assert f"Decision: {summary['decision']}" in words
    assert story["life"]["outcome"]["hash"] in words
    refused = evernas("audit", "show", "one#99", "--root", root)
    assert (refused.returncode, "has the trials 0 to 2" in refused.stderr) == (2, True)


def test_the_record_is_checked_elsewhere_without_evernas(root: Path, evernas: Evernas, tmp_path: Path) -> None:
    out = tmp_path / "export"
    found = told(evernas("audit", "export", "one", "--root", root, "-o", out, "--json"))
    assert evernas("audit", "export", "one", "--root", root, "-o", out).returncode == 2
    command = [sys.executable, "-I", "-S", str(out / "verify.py"), found["key"], found["head"]]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"in order: {found['entries']} entries up to {found['head']}")
    assert {path.name for path in out.iterdir()} >= {
        "README.md",
        "report.html",
        "summary.json",
        "deploy",
        "heads.jsonl",
    }


def test_a_trial_trained_once_more_is_the_same(root: Path, evernas: Evernas) -> None:
    done = told(evernas("replay", "latest#1", "--root", root, "--json"))
    assert done["identical"]
    assert done["exit_code"] == 0
    assert done["compared"] > 3 * 5
    words = evernas("replay", "1", "--root", root, "--strict").stdout
    assert f"Identical: status ok and {done['compared']} figures, to the last bit." in words


def test_mlflow_is_up_to_date_already(root: Path, evernas: Evernas) -> None:
    found = told(evernas("audit", "sync", "one", "--root", root, "--json"))
    assert found == {"candidates": 3, "made": 0, "completed": 0, "closed": 0}
