"""A cycle's folder, and the rule that a step is done once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.backends.signing import load_signer
from components.progress import read_events
from components.run import Run
from nas_core.errors import InputError, OutsideError
from nas_core.ledger import Ledger
from nas_core.store import FolderStore
from tests.e2e.specs import TUMOUR

SPEC = yaml.safe_dump(TUMOUR)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "runs", "first", SPEC, tmp_path)


def entries(run: Run, *kinds: str) -> list[dict[str, Any]]:
    return [entry.data for entry in Ledger(FolderStore(run.folder)).entries(set(kinds))]


def writing(text: str, result: dict[str, Any], calls: list[str]) -> Any:
    def work(out: Path, _: Ledger) -> dict[str, Any]:
        calls.append(text)
        (out / "made.txt").write_text(text)
        return result

    return work


def test_a_run_is_opened_as_it_was_made(run: Run, tmp_path: Path) -> None:
    again = Run.open(tmp_path / "runs", "first")
    assert (again.spec, again.base, again.forced) == (run.spec, tmp_path, False)
    assert (again.folder / "spec.yaml").read_text() == SPEC
    assert Run.open(tmp_path / "runs", "latest").id == "first"


def test_making_it_again_is_opening_it(run: Run, tmp_path: Path) -> None:
    assert Run.create(tmp_path / "runs", "first", SPEC, tmp_path) == run


@pytest.mark.parametrize("change", ["spec", "base", "forced"])
def test_another_run_of_the_same_name_is_refused(run: Run, tmp_path: Path, change: str) -> None:
    spec = SPEC.replace("tumour", "other") if change == "spec" else SPEC
    base = tmp_path / "elsewhere" if change == "base" else tmp_path
    with pytest.raises(InputError, match="another spec"):
        Run.create(run.root, "first", spec, base, forced=change == "forced")
    assert (run.folder / "spec.yaml").read_text() == SPEC


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "it's", "two words", "champions", "latest"])
def test_a_name_that_leaves_the_root_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="run:"):
        Run.create(tmp_path / "runs", name, SPEC, tmp_path)


def test_the_beginning_is_recorded_once(run: Run) -> None:
    run.begin()
    run.begin()
    [cycle] = entries(run, "cycle")
    assert cycle["spec"] == SPEC
    assert cycle["previous"] is None
    assert cycle["environment"]["torch"]


def test_a_step_is_done_once_for_the_same_inputs(run: Run) -> None:
    calls: list[str] = []
    first = run.step("search", {"data": "a"}, writing("one", {"n": 1}, calls))
    again = Run.open(run.root, "first").step("search", {"data": "a"}, writing("two", {"n": 2}, calls))
    assert (first, again, calls) == ({"n": 1}, {"n": 1}, ["one"])
    assert run.results() == {"search": {"n": 1}}


def test_a_step_is_done_again_for_other_inputs(run: Run) -> None:
    calls: list[str] = []
    run.step("search", {"data": "a"}, writing("one", {"n": 1}, calls))
    assert run.step("search", {"data": "b"}, writing("two", {"n": 2}, calls)) == {"n": 2}
    assert run.results() == {"search": {"n": 2}}


def test_the_digests_of_a_step_s_files_are_recorded_but_not_of_scratch(run: Run) -> None:
    def work(out: Path, _: Ledger) -> dict[str, Any]:
        for name in ("kept/model.bin", "_engine/state", ".hidden"):
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text("content")
        return {}

    run.step("retrain", {}, work)
    [stage] = entries(run, "stage")
    assert stage["files"] == {"kept/model.bin": "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"}


@pytest.mark.parametrize(
    ("error", "code"), [(InputError("no column x"), 2), (OutsideError("gone"), 4), (KeyError(1), 1)]
)
def test_a_failure_is_recorded_raised_and_tried_again(run: Run, error: Exception, code: int) -> None:
    def fail(_: Path, __: Ledger) -> dict[str, Any]:
        raise error

    with pytest.raises(type(error)):
        run.step("data_prep", {}, fail)
    [failure] = entries(run, "failure")
    assert (failure["stage"], failure["code"]) == ("data_prep", code)
    assert run.step("data_prep", {}, writing("now", {"n": 1}, [])) == {"n": 1}


def test_what_a_step_says_can_be_followed(run: Run) -> None:
    run.step("deploy", {}, writing("x", {}, []))
    events, offset = read_events(run.progress.path)
    assert [(event.stage, event.kind) for event in events] == [("deploy", "begin"), ("deploy", "end")]
    assert offset == run.progress.size
    with run.progress.path.open("a") as file:
        file.write('{"half": ')
    assert read_events(run.progress.path, offset) == ([], offset)


def test_it_is_closed_when_its_end_is_the_last_word(run: Run) -> None:
    assert not run.closed
    Ledger(run.store, load_signer()).append("end", {"decision": "kept", "exit_code": 0})
    assert run.closed
    Ledger(run.store, load_signer()).append(
        "stage", {"stage": "deploy", "inputs": "", "result": {}, "files": {}, "seconds": 0.0}
    )
    assert not run.closed


def test_mlflow_may_be_away(run: Run) -> None:
    with run.tolerating("search"):
        raise OutsideError("MLflow: connection refused")
    events, _ = read_events(run.progress.path)
    assert "connection refused" in json.dumps(events[-1].data)


def test_in_a_folder_nothing_is_copied_and_nothing_is_kept_besides(run: Run) -> None:
    run.begin()
    run.step("data_prep", {}, writing("x", {}, []))
    kept = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    run.kept.fetch()
    run.kept.fetch_ledger()
    run.kept.send({"data_prep/made.txt": "0" * 64})
    assert run.kept.checkout() == run.folder
    assert run.kept.checkpoints("search") is None
    assert {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()} == kept
    assert {path.name for path in run.root.iterdir()} == {"first", "latest"}
    assert (run.uri, run.place.remote) == (str(run.root), False)


def test_what_a_killed_step_left_in_a_folder_is_there_for_the_next(run: Run) -> None:
    def killed(out: Path, _: Ledger) -> dict[str, Any]:
        (out / "half.txt").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.step("search", {}, killed)
    run.step("search", {}, writing("whole", {}, []))
    [stage] = entries(run, "stage")
    assert set(stage["files"]) == {"half.txt", "made.txt"}


@pytest.mark.parametrize("name", ["none", "../runs/first", "first/ledger"])
def test_a_run_that_is_not_in_the_root_is_not_opened(run: Run, name: str) -> None:
    with pytest.raises(InputError, match="there is no run"):
        Run.open(run.root, name)
    with pytest.raises(InputError, match="there is no run"):
        Run.open(run.root, str(run.folder))
