from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Dataset, DatasetInput, Metric, Param
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from components.backends.mirror import Mirror, candidates, sync
from components.backends.mlflow_compare import Difference, differences
from components.backends.mlflow_parent import Parent, parent_expected
from components.backends.mlflow_tracking import Candidate, Tracker
from components.report.summary import summarise
from components.spec import TrackingSpec
from components.spec_file import parse_spec
from nas_core.errors import OutsideError
from nas_core.failures import failure
from nas_core.types import Status
from tests.components.backends.mlflow_server import mlflow_server

SPEC = parse_spec(Path("examples/adult/spec.yaml").read_text(), "spec.yaml")
CANDIDATES = 6


@dataclass
class Mirrored:
    """A cycle that has ended, and its mirror."""

    studies: Any
    spec: TrackingSpec
    root: Path
    run: str
    files: Mapping[str, Path]

    @property
    def tracker(self) -> Tracker:
        return Tracker(self.spec, self.root, SPEC.name, self.run)

    @property
    def parent(self) -> Parent:
        return parent_expected(
            self.studies.ledger.entries, lambda entries: summarise(entries, SPEC), name=SPEC.name, source="there"
        )

    @property
    def client(self) -> MlflowClient:
        return self.tracker.client

    def sync(self) -> dict[str, int]:
        return sync(self.tracker, self.studies.ledger.entries(), self.studies.names, self.parent, self.files)

    def differences(self) -> list[Difference]:
        digests = {name: sha256(path.read_bytes()).hexdigest() for name, path in self.files.items()}
        entries = self.studies.ledger.entries()
        return list(differences(self.tracker, entries, self.studies.names, digests, parent=self.parent))

    def told(self) -> list[tuple[str, str, str, str]]:
        return [(each.kind, each.where, each.what, each.name) for each in self.differences()]

    def child(self, number: int) -> str:
        client = self.client
        home = client.get_run(self.tracker.parent).info.experiment_id
        wanted = f"tags.`evernas.run` = '{self.run}' and tags.`evernas.trial` = '{number}'"
        [run] = client.search_runs([home], wanted)
        return str(run.info.run_id)


def begin(studies: Any, count: int = CANDIDATES) -> Any:
    """Record a cycle with some trials; one of them failed, and one was tried twice."""
    ledger = studies.ledger
    ledger.append("cycle", {"run": "adult-1", "spec_digest": "ab" * 32, "seed": 7})
    data = {"stage": "data_prep", "result": {"digest": "cd" * 32, "rows": {"train": 10}}, "files": {}, "seconds": 1.5}
    ledger.append("stage", data)
    study = studies.open()
    studies.play(study, count - 2)
    first, second = study.ask(2)
    study.report(first.number, 1, {"accuracy": 0.25})
    study.tell(first.number, failure(Status.FAILED, "nan", "loss is nan"), 1.0)
    study.retry(second.number, failure(Status.LOST, "node", "it went away"), 2.0, 3)
    [again] = study.ask(1)
    study.tell(again.number, {"accuracy": 0.5}, 1.0)
    return study


def end(studies: Any, decision: str = "failed") -> None:
    studies.ledger.append("end", {"decision": decision, "exit_code": 1})


@pytest.fixture(scope="module")
def server(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("server"), tables) as server:
        yield server.uri


def ended(studies: Any, spec: TrackingSpec, root: Path, run: str) -> Mirrored:
    """Mirror a cycle that has ended."""
    (root / "report.html").write_text("<p>")
    (root / "front.png").write_bytes(b"png")
    files = {"report.html": root / "report.html", "figures/front.png": root / "front.png"}
    begin(studies)
    end(studies)
    mirrored = Mirrored(studies, spec, root, run, files)
    mirrored.sync()
    return mirrored


@pytest.fixture(scope="module")
def template(tables: Path, tmp_path_factory: pytest.TempPathFactory, new_studies: type[Any]) -> Mirrored:
    """A cycle that has ended, mirrored once for all tests that begin with one."""
    root = tmp_path_factory.mktemp("template")
    shutil.copy(tables, root / "mlflow.db")
    mirrored = ended(new_studies(), TrackingSpec(), root, "adult-1")
    _copy(root / "mlflow.db", root / "saved.db")
    shutil.copytree(root / "mlartifacts", root / "saved")
    return mirrored


@pytest.fixture
def mirrored(template: Mirrored, new_studies: type[Any]) -> Mirrored:
    """The same with the state that it had at first; MLflow has its files open, so they stay the same files."""
    _copy(template.root / "saved.db", template.root / "mlflow.db")
    shutil.rmtree(template.root / "mlartifacts")
    shutil.copytree(template.root / "saved", template.root / "mlartifacts")
    studies = new_studies()
    keys = template.studies.store.keys()
    for key in keys:
        studies.store.create(key, template.studies.store.read(key))
    return replace(template, studies=studies)


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(target)) as there:
        here.backup(there)


# ---------------------------------------------------------------- what the mirror makes


def test_what_the_mirror_wrote_has_no_differences_and_there_is_nothing_more_to_do(mirrored: Mirrored) -> None:
    assert mirrored.differences() == []
    assert mirrored.sync() == {"candidates": CANDIDATES, "made": 0, "completed": 0, "closed": 0}
    assert mirrored.differences() == []


def test_a_trial_that_was_tried_again_says_so(mirrored: Mirrored) -> None:
    run = mirrored.client.get_run(mirrored.child(CANDIDATES - 1))
    assert run.data.tags["evernas.attempt"] == "1"
    assert run.data.metrics["cost_seconds"] == 3.0
    assert "evernas.attempt" not in mirrored.client.get_run(mirrored.child(0)).data.tags


def test_the_cycle_shows_status_and_time_of_its_end(mirrored: Mirrored) -> None:
    info = mirrored.client.get_run(mirrored.tracker.parent).info
    assert (info.status, info.end_time) == mirrored.parent.endings[-1]


# ---------------------------------------------------------------- every edit

Edit = Callable[[Mirrored], object]
Found = tuple[str, str, str, str]


def log_points(mirrored: Mirrored, metrics: Sequence[Metric], number: int = 2) -> None:
    mirrored.client.log_batch(mirrored.child(number), metrics=metrics)


def delete_artifact(mirrored: Mirrored) -> None:
    tracker = mirrored.tracker
    uri = tracker.client.get_run(tracker.parent).info.artifact_uri
    get_artifact_repository(uri, tracking_uri=mirrored.spec.uri).delete_artifacts("figures/front.png")


def replace_artifact(mirrored: Mirrored) -> None:
    mirrored.client.log_text(mirrored.tracker.parent, "<p>better", "report.html")


def delete_and_restore(mirrored: Mirrored) -> None:
    child = mirrored.child(2)
    mirrored.client.delete_run(child)
    mirrored.client.restore_run(child)


def forge(mirrored: Mirrored) -> None:
    """Put a better copy in the place of a run."""
    client, child = mirrored.client, mirrored.child(2)
    run = client.get_run(child)
    client.delete_run(child)
    tags = {key: value for key, value in run.data.tags.items() if key != "mlflow.runName"}
    copy = client.create_run(run.info.experiment_id, run.info.start_time, tags, "trial-2").info.run_id
    for name, value in run.data.params.items():
        client.log_param(copy, name, value)
    points = [point for name in run.data.metrics for point in client.get_metric_history(child, name)]
    better = [Metric(p.key, 1.0 if p.key == "accuracy" else p.value, p.timestamp, p.step) for p in points]
    client.log_batch(copy, metrics=better)
    client.set_terminated(copy, "FINISHED", run.info.end_time)


def disown(mirrored: Mirrored) -> None:
    child = mirrored.child(2)
    for tag in ("evernas.run", "mlflow.parentRunId"):
        mirrored.client.delete_tag(child, tag)


EDITS: dict[str, tuple[Edit, list[Found]]] = {
    "metric, same step": (
        lambda m: m.client.log_metric(m.child(2), "accuracy", 0.9, step=2),
        [("edited", "trial-2", "metric", "accuracy at step 2")],
    ),
    "metric, new step": (
        lambda m: m.client.log_metric(m.child(2), "accuracy", 0.9, step=3),
        [("added", "trial-2", "metric", "accuracy at step 3")],
    ),
    "metric, earlier step": (
        lambda m: m.client.log_metric(m.child(2), "loss", 0.125, step=1),
        [("edited", "trial-2", "metric", "loss at step 1")],
    ),
    "metric, same value at another time": (
        lambda m: m.client.log_metric(m.child(2), "accuracy", 0.2, timestamp=5, step=2),
        [("edited", "trial-2", "time", "accuracy at step 2")],
    ),
    "new metric": (
        lambda m: m.client.log_metric(m.child(2), "f1", 0.9),
        [("added", "trial-2", "metric", "f1 at step 0")],
    ),
    "batch of metrics": (
        lambda m: log_points(m, [Metric("accuracy", 0.9, 5, 2), Metric("loss", 0.0, 5, 2)]),
        [("edited", "trial-2", "metric", "accuracy at step 2"), ("edited", "trial-2", "metric", "loss at step 2")],
    ),
    "cycle's metric": (
        lambda m: m.client.log_metric(m.tracker.parent, "candidates", 99.0),
        [("edited", "cycle", "metric", "candidates at step 0")],
    ),
    "cycle's new metric": (
        lambda m: m.client.log_metric(m.tracker.parent, "f1", 0.5),
        [("added", "cycle", "metric", "f1 at step 0")],
    ),
    "new parameter": (
        lambda m: m.client.log_param(m.child(2), "dropout", "0.5"),
        [("added", "trial-2", "param", "dropout")],
    ),
    "cycle's new parameter": (
        lambda m: m.client.log_batch(m.tracker.parent, params=[Param("dropout", "0.5")]),
        [("added", "cycle", "param", "dropout")],
    ),
    "tag": (
        lambda m: m.client.set_tag(m.child(2), "evernas.architecture", "id-9-9"),
        [("edited", "trial-2", "tag", "evernas.architecture")],
    ),
    "deleted tag": (
        lambda m: m.client.delete_tag(m.child(2), "evernas.status"),
        [("deleted", "trial-2", "tag", "evernas.status")],
    ),
    "new tag": (lambda m: m.client.set_tag(m.child(2), "best", "yes"), [("added", "trial-2", "tag", "best")]),
    "note": (
        lambda m: m.client.set_tag(m.child(2), "mlflow.note.content", "looks fine"),
        [("added", "trial-2", "tag", "mlflow.note.content")],
    ),
    "trial's number": (
        lambda m: m.client.set_tag(m.child(2), "evernas.trial", "3"),
        [("edited", "trial-2", "tag", "evernas.trial")],
    ),
    "trial's number, no number": (
        lambda m: m.client.set_tag(m.child(2), "evernas.trial", "x"),
        [("edited", "trial-2", "tag", "evernas.trial")],
    ),
    "ledger's hash": (
        lambda m: m.client.set_tag(m.child(2), "evernas.ledger_hash", "0" * 64),
        [("edited", "trial-2", "tag", "evernas.ledger_hash")],
    ),
    "another parent": (
        lambda m: m.client.set_tag(m.child(2), "mlflow.parentRunId", "0" * 32),
        [("edited", "trial-2", "tag", "mlflow.parentRunId")],
    ),
    "no parent": (
        lambda m: m.client.delete_tag(m.child(2), "mlflow.parentRunId"),
        [("deleted", "trial-2", "tag", "mlflow.parentRunId")],
    ),
    "neither run nor parent": (
        disown,
        [("deleted", "trial-2", "tag", "evernas.run"), ("deleted", "trial-2", "tag", "mlflow.parentRunId")],
    ),
    "cycle's tag": (
        lambda m: m.client.set_tag(m.tracker.parent, "evernas.decision", "promoted"),
        [("edited", "cycle", "tag", "evernas.decision")],
    ),
    "cycle's kind": (
        lambda m: m.client.delete_tag(m.tracker.parent, "evernas.kind"),
        [("deleted", "cycle", "tag", "evernas.kind")],
    ),
    "name": (lambda m: m.client.update_run(m.child(2), name="best"), [("edited", "trial-2", "tag", "mlflow.runName")]),
    "cycle's name": (
        lambda m: m.client.update_run(m.tracker.parent, name="best"),
        [("edited", "cycle", "tag", "mlflow.runName")],
    ),
    "status": (
        lambda m: m.client.update_run(m.child(2), status="FAILED"),
        [("edited", "trial-2", "status", "status")],
    ),
    "status and end": (
        lambda m: m.client.set_terminated(m.child(2), "KILLED"),
        [("edited", "trial-2", "status", "status"), ("edited", "trial-2", "time", "end")],
    ),
    "running again": (
        lambda m: m.client.update_run(m.child(CANDIDATES - 1), status="RUNNING"),
        [("edited", f"trial-{CANDIDATES - 1}", "status", "status")],
    ),
    "cycle's status": (
        lambda m: m.client.update_run(m.tracker.parent, status="FINISHED"),
        [("edited", "cycle", "status", "status")],
    ),
    "cycle running again": (
        lambda m: m.client.update_run(m.tracker.parent, status="RUNNING"),
        [("edited", "cycle", "status", "status")],
    ),
    "deleted run": (lambda m: m.client.delete_run(m.child(2)), [("deleted", "trial-2", "run", "run")]),
    "deleted last run": (
        lambda m: m.client.delete_run(m.child(CANDIDATES - 1)),
        [("deleted", f"trial-{CANDIDATES - 1}", "run", "run")],
    ),
    "deleted cycle": (lambda m: m.client.delete_run(m.tracker.parent), [("deleted", "cycle", "run", "run")]),
    "restored run": (delete_and_restore, []),
    "forged run": (
        forge,
        [("edited", "trial-2", "metric", "accuracy at step 1"), ("edited", "trial-2", "metric", "accuracy at step 2")],
    ),
    "cycle's artifact": (replace_artifact, [("edited", "cycle", "artifact", "report.html")]),
    "cycle's new artifact": (
        lambda m: m.client.log_text(m.tracker.parent, "more", "figures/more.txt"),
        [("added", "cycle", "artifact", "figures/more.txt")],
    ),
    "cycle's deleted artifact": (delete_artifact, [("deleted", "cycle", "artifact", "figures/front.png")]),
    "candidate's artifact": (
        lambda m: m.client.log_text(m.child(2), "weights", "a/model.txt"),
        [("added", "trial-2", "artifact", "a/model.txt")],
    ),
    "data": (
        lambda m: m.client.log_inputs(m.child(2), [DatasetInput(Dataset("other", "12", "x", "{}"))]),
        [("added", "trial-2", "input", "data other 12")],
    ),
    "cycle's data": (
        lambda m: m.client.log_inputs(m.tracker.parent, [DatasetInput(Dataset("other", "12", "x", "{}"))]),
        [("added", "cycle", "input", "data other 12")],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_every_edit_through_mlflows_own_client_is_found_and_named(mirrored: Mirrored, edit: str) -> None:
    make, expected = EDITS[edit]
    make(mirrored)
    assert sorted(mirrored.told()) == sorted(expected)


def test_every_edit_is_found_over_http_too(studies: Any, tmp_path: Path, server: str) -> None:
    mirrored = ended(studies, TrackingSpec(uri=server), tmp_path, "adult-http")
    assert mirrored.differences() == []
    for edit in (
        "metric, same step",
        "cycle's tag",
        "cycle's artifact",
        "cycle's deleted artifact",
        "deleted last run",
    ):
        EDITS[edit][0](mirrored)
    assert sorted(mirrored.told()) == [
        ("deleted", "cycle", "artifact", "figures/front.png"),
        ("deleted", f"trial-{CANDIDATES - 1}", "run", "run"),
        ("edited", "cycle", "artifact", "report.html"),
        ("edited", "cycle", "tag", "evernas.decision"),
        ("edited", "trial-2", "metric", "accuracy at step 2"),
    ]


def test_runs_that_no_entry_speaks_of_are_named(mirrored: Mirrored) -> None:
    tracker, client = mirrored.tracker, mirrored.client
    home = client.get_run(tracker.parent).info.experiment_id
    original = client.get_run(mirrored.child(2))
    under = client.create_run(home, tags={"mlflow.parentRunId": tracker.parent}, run_name="mine").info.run_id
    tagged = client.create_run(home, tags={"evernas.run": "adult-1"}, run_name="other").info.run_id
    twice = client.create_run(home, tags=dict(original.data.tags), run_name="trial-2").info.run_id
    hidden = client.create_run(home, tags=dict(original.data.tags), run_name="trial-2").info.run_id
    client.delete_run(hidden)
    assert sorted(mirrored.told()) == sorted(
        ("added", where, "run", run) for where, run in [("mine", under), ("other", tagged), ("trial-2", twice)]
    )
    client.create_run(client.create_experiment("elsewhere"), tags={"evernas.run": "adult-2"})
    assert len(mirrored.told()) == 3
    assert mirrored.sync()["made"] == 0  # it removes the second run of a candidate, and leaves strangers alone
    assert sorted(name for *_, name in mirrored.told()) == sorted([under, tagged])


def test_an_experiment_by_another_name_is_named(mirrored: Mirrored) -> None:
    home = mirrored.client.get_run(mirrored.tracker.parent).info.experiment_id
    mirrored.client.rename_experiment(home, "mine")
    assert mirrored.differences() == [Difference("experiment", "run", "name", SPEC.name, "mine")]


def test_a_difference_says_what_is_recorded_and_what_is_there(mirrored: Mirrored) -> None:
    mirrored.client.log_metric(mirrored.child(2), "accuracy", 0.9, step=2)
    mirrored.client.delete_tag(mirrored.child(3), "evernas.status")
    mirrored.client.set_tag(mirrored.child(3), "best", "yes")
    assert [str(each) for each in mirrored.differences()] == [
        "trial-2: metric accuracy at step 2 was edited to 0.9; recorded is 0.2",
        "trial-3: tag best was added, yes; the record knows of none",
        "trial-3: tag evernas.status was deleted; recorded is ok",
    ]


# ---------------------------------------------------------------- behind is no edit


def newest(studies: Any) -> Candidate:
    return list(candidates(studies.ledger.entries(), studies.names))[-1]


def test_what_mlflow_has_not_been_told_is_behind(studies: Any, root: Path) -> None:
    mirrored = Mirrored(studies, TrackingSpec(), root, "adult-1", {})
    assert mirrored.told() == [("behind", "cycle", "run", "run")]
    study = begin(studies, 4)
    mirrored.sync()
    assert mirrored.differences() == []  # the cycle goes on
    studies.play(study, 2)
    assert mirrored.told() == [("behind", f"trial-{number}", "run", "run") for number in (4, 5)]
    end(studies)
    assert mirrored.told()[2:] == [("behind", "cycle", "run", "end")]
    assert mirrored.sync() == {"candidates": 6, "made": 2, "completed": 0, "closed": 1}
    assert mirrored.differences() == []


def test_a_run_that_was_begun_only_is_behind_at_the_end_and_an_edit_elsewhere(studies: Any, root: Path) -> None:
    mirrored = Mirrored(studies, TrackingSpec(), root, "adult-1", {})
    study = begin(studies, 4)
    mirrored.sync()
    studies.play(study, 1)
    last = list(studies.ledger.entries({"outcome"}))[-1]
    tags = {
        "mlflow.parentRunId": mirrored.tracker.parent,
        "evernas.run": "adult-1",
        "evernas.kind": "candidate",
        "evernas.trial": "4",
        "evernas.ledger_seq": str(last.seq),
        "evernas.ledger_hash": last.hash,
    }
    home = mirrored.client.get_run(mirrored.tracker.parent).info.experiment_id
    client = mirrored.client
    begun = client.create_run(home, start_time=newest(studies).start, tags=tags, run_name="trial-4").info.run_id
    assert mirrored.told() == [("behind", "trial-4", "run", "run")]
    client.log_metric(begun, "f1", 1.0)
    assert ("added", "trial-4", "metric", "f1 at step 0") in mirrored.told()
    studies.play(study, 1)
    mirrored.tracker.mirror(newest(studies))
    found = mirrored.told()
    assert ("edited", "trial-4", "status", "status") in found
    assert not [each for each in found if each[0] == "behind"]


def test_a_cycle_that_was_taken_up_again_has_both_ends_and_no_differences(mirrored: Mirrored) -> None:
    studies = mirrored.studies
    study = studies.open()
    studies.play(study, 2)
    assert {each.kind for each in mirrored.differences()} == {"behind"}
    mirrored.sync()
    assert mirrored.differences() == []  # the first end is still shown
    studies.ledger.append("interrupted", {"signal": 15})
    end(studies, "interrupted")
    assert mirrored.told() == [("behind", "cycle", "run", "end")]
    mirrored.client.set_tag(mirrored.tracker.parent, "evernas.decision", "promoted")
    assert ("edited", "cycle", "tag", "evernas.decision") in mirrored.told()
    assert mirrored.sync()["closed"] == 1
    assert mirrored.differences() == []
    assert mirrored.client.get_run(mirrored.tracker.parent).info.status == "KILLED"
    assert len(mirrored.client.get_metric_history(mirrored.tracker.parent, "candidates")) == 2


def test_a_cycle_that_died_before_its_report_is_closed_with_the_truth(studies: Any, root: Path) -> None:
    mirrored = Mirrored(studies, TrackingSpec(), root, "adult-1", {})
    begin(studies)
    mirrored.sync()
    studies.ledger.append("failure", {"stage": "search", "code": 4, "message": "the disk is full"})
    assert mirrored.sync()["closed"] == 1
    info = mirrored.client.get_run(mirrored.tracker.parent).info
    assert (info.status, info.end_time) == mirrored.parent.endings[-1]
    assert mirrored.differences() == []


def test_a_run_that_kubeflow_made_is_found_later_without_its_variable(
    studies: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored = Mirrored(studies, TrackingSpec(), root, "adult-1", {})
    client = mirrored.client
    given = client.create_run(client.create_experiment("kubeflow"), tags={"kfp.run": "7"}).info.run_id
    begin(studies)
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    mirrored.sync()
    monkeypatch.delenv("MLFLOW_RUN_ID")
    assert mirrored.differences() == []
    end(studies)
    assert mirrored.told() == [("behind", "cycle", "run", "end")]
    assert mirrored.sync()["made"] == 0
    assert mirrored.tracker.parent == given
    assert mirrored.differences() == []
    client.set_tag(given, "evernas.decision", "promoted")
    assert mirrored.told() == [("edited", "cycle", "tag", "evernas.decision")]


# ---------------------------------------------------------------- all of it


def test_looking_changes_nothing_and_tells_how_far_it_is(mirrored: Mirrored) -> None:
    def dump() -> list[str]:
        with closing(sqlite3.connect(mirrored.root / "mlflow.db")) as connection:
            return list(connection.iterdump())

    before, told = dump(), []
    entries = mirrored.studies.ledger.entries()
    assert list(differences(mirrored.tracker, entries, mirrored.studies.names, progress=told.append)) == []
    assert told == list(range(1, CANDIDATES + 1))
    assert dump() == before


def test_an_mlflow_that_is_not_there_is_an_outside_error(studies: Any, tmp_path: Path) -> None:
    tracker = Tracker(TrackingSpec(uri="http://127.0.0.1:9"), tmp_path, "demo", "demo-1")
    with pytest.raises(OutsideError, match=r"^MLflow: .*127\.0\.0\.1"):
        list(differences(tracker, studies.ledger.entries(), studies.names))


def test_awkward_names_and_values_come_back_as_they_were_written(studies: Any, root: Path) -> None:
    study = studies.open()
    first, second = study.ask(2)
    study.tell(first.number, {"accuracy": 0.1 + 0.2, "top@1": 1e-300, "top#1": 1e300}, 1 / 3)
    study.tell(second.number, failure(Status.FAILED, "build", "bad \0 \ud800 é" + "x" * 9000), 0.0)
    tracker = Tracker(TrackingSpec(), root, "demo", "demo-1")
    with Mirror(tracker, studies.ledger, studies.names, pytest.fail) as following:
        following.wake()
    assert list(differences(tracker, studies.ledger.entries(), studies.names)) == []
