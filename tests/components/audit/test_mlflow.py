"""MLflow lets everybody edit what it shows; the record tells what it should show, so each edit is named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.audit import verify_folder
from components.audit.mlflow import catch_up
from components.report.step import main as report
from components.run import Run
from nas_core.errors import IntegrityError, OutsideError
from tests.components.audit.conftest import SPEC, cycle

SEARCH = {**SPEC["search"], "strategy": {"kind": "random"}, "budget": {"trials": 6}}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tracked-places")


@pytest.fixture(scope="module")
def tracked(places: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A cycle that ended after its search, and MLflow brought up to it; each test edits other runs there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERNAS_SIGNING_KEY", str(places / "signing.pem"))
        patch.setenv("EVERNAS_ANCHORS", str(places / "anchors"))
        patch.setattr("components.report.step._mirror", lambda *_: None, raising=False)  # it is done below
        run = cycle(tmp_path_factory.mktemp("tracked"), {**SPEC, "search": SEARCH}, until="search")
        report(str(run.root), run.id)
        assert catch_up(run.folder)["candidates"] == 6
        found = verify_folder(run.folder, mlflow=True)
        assert found["mlflow"] == {"checked": 6, "behind": 0, "differences": []}
        assert found["files"] > len(list((run.folder / "figures").iterdir())) > 0
        yield run


@pytest.fixture(autouse=True)
def key_and_anchors(own_places: None, places: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setenv("EVERNAS_SIGNING_KEY", str(places / "signing.pem"))
    monkeypatch.setenv("EVERNAS_ANCHORS", str(places / "anchors"))


def child(run: Run, number: int) -> Any:
    found = run.tracker.client.search_runs(
        [run.tracker.client.get_run(run.tracker.parent).info.experiment_id],
        f"tags.`evernas.run` = '{run.id}' and tags.`evernas.trial` = '{number}'",
    )
    return found[0].info.run_id


def metric_overwritten(run: Run) -> str:
    run.tracker.client.log_metric(child(run, 0), "accuracy", 0.99, step=4)
    return "MLflow: trial-0: metric accuracy at step 4 was edited to 0.99; recorded is 0."


def tag_changed(run: Run) -> str:
    run.tracker.client.set_tag(child(run, 1), "evernas.status", "failed")
    return "MLflow: trial-1: tag evernas.status was edited to failed; recorded is "


def run_deleted(run: Run) -> str:
    run.tracker.client.delete_run(child(run, 2))
    return "was deleted; recorded is trial-2"


def run_added(run: Run) -> str:
    client = run.tracker.client
    experiment = client.get_run(run.tracker.parent).info.experiment_id
    tags = {"mlflow.parentRunId": run.tracker.parent, "evernas.run": run.id, "evernas.trial": "99"}
    client.create_run(experiment, tags=tags, run_name="trial-99")
    return "was added, trial-99; the record knows of none"


def artifact_replaced(run: Run) -> str:
    folder = run.root / "replaced"
    folder.mkdir()
    (folder / "report.html").write_text("<p>promoted</p>")
    run.tracker.client.log_artifact(run.tracker.parent, str(folder / "report.html"))
    return "MLflow: cycle: artifact report.html was edited"


@pytest.mark.parametrize(
    "edit", [metric_overwritten, tag_changed, run_deleted, run_added, artifact_replaced], ids=lambda each: each.__name__
)
def test_an_edit_is_named_and_the_record_stays_in_order(tracked: Run, edit: Any) -> None:
    told = edit(tracked)
    with pytest.raises(IntegrityError) as caught:
        verify_folder(tracked.folder, mlflow=None)
    assert told in str(caught.value)
    assert verify_folder(tracked.folder, mlflow=False)["mlflow"] is None


def test_a_copy_is_not_what_mlflow_knows(tracked: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tracked.folder, tmp_path / "copy"))
    found = verify_folder(folder, mlflow=None)
    assert found["mlflow"]["skipped"] == f"MLflow: knows the run as one, not as a copy in {folder}"
    with pytest.raises(OutsideError, match="knows the run as one"):
        verify_folder(folder, mlflow=True)


def test_without_mlflow_there_is_nothing_to_compare_unless_one_asks(tracked: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tracked.folder, tmp_path / "one"))
    found = verify_folder(folder, mlflow=None)
    assert "there is none beside the run" in found["mlflow"]["skipped"]
    assert not (tmp_path / "mlflow.db").exists()
    with pytest.raises(OutsideError, match="there is none beside the run"):
        verify_folder(folder, mlflow=True)


def test_what_mlflow_does_not_know_yet_is_behind_and_is_brought_up_to_date(tracked: Run, tmp_path: Path) -> None:
    shutil.copytree(tracked.folder, tmp_path / tracked.id)
    run = Run.open(tmp_path, tracked.id)
    assert run.tracker.parent  # MLflow has a run of this name, and nothing in it
    found = verify_folder(run.folder, mlflow=True)["mlflow"]
    assert (found["differences"], found["behind"] >= 6) == ([], True)
    assert catch_up(run.folder) == {"candidates": 6, "made": 6, "completed": 0, "closed": 1}
    assert verify_folder(run.folder, mlflow=True)["mlflow"] == {"checked": 6, "behind": 0, "differences": []}
