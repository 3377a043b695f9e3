from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from components.backends.mlflow_tracking import Candidate, Tracker, tracking_uri
from components.spec import TrackingSpec
from nas_core.errors import OutsideError

LOCAL = TrackingSpec()
Point = tuple[str, float, int, int]


def candidate(number: int = 0, **changes: Any) -> Candidate:
    values: dict[str, Any] = {
        "number": number,
        "name": f"trial-{number}",
        "params": {"depth": "3", "width [units]": "16"},
        "points": [("accuracy", 0.5, 1500, 1), ("accuracy", 0.75, 1600, 2), ("params", 70.0, 1700, 2)],
        "tags": {"evernas.ledger_seq": "4", "evernas.ledger_hash": "ab" * 32},
        "failed": False,
        "start": 1000,
        "end": 1700,
    }
    return Candidate(**(values | changes))


@pytest.fixture
def tracker(root: Path) -> Tracker:
    return Tracker(LOCAL, root, "demo", "demo-1")


@pytest.fixture
def client(root: Path) -> MlflowClient:
    return MlflowClient(tracking_uri(LOCAL, root))


@pytest.fixture
def runs(client: MlflowClient) -> Callable[..., list[Run]]:
    """Return all runs of an experiment with some tag."""

    def find(kind: str = "candidate", experiment: str = "demo") -> list[Run]:
        place = client.get_experiment_by_name(experiment)
        return list(client.search_runs([place.experiment_id], f"tags.`evernas.kind` = '{kind}'", max_results=1000))

    return find


# ---------------------------------------------------------------- candidates


def test_a_candidate_is_one_child_run_with_all_that_is_known_of_it(
    tracker: Tracker, client: MlflowClient, runs: Callable[..., list[Run]]
) -> None:
    tracker.mirror(candidate(7))
    [run] = runs()
    assert (
        run.data.tags.items()
        >= {
            "mlflow.parentRunId": tracker.parent,
            "mlflow.runName": "trial-7",
            "evernas.run": "demo-1",
            "evernas.trial": "7",
            "evernas.ledger_seq": "4",
            "evernas.ledger_hash": "ab" * 32,
        }.items()
    )
    assert run.data.params == {"depth": "3", "width _units_": "16"}
    assert run.data.metrics == {"accuracy": 0.75, "params": 70.0}
    history = client.get_metric_history(run.info.run_id, "accuracy")
    assert [(point.value, point.timestamp, point.step) for point in history] == [(0.5, 1500, 1), (0.75, 1600, 2)]
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FINISHED", 1000, 1700)


def test_a_failed_candidate_looks_failed(tracker: Tracker, runs: Callable[..., list[Run]]) -> None:
    tracker.mirror(candidate(failed=True, points=[]))
    assert runs()[0].info.status == "FAILED"


def test_mirroring_again_changes_nothing(root: Path, client: MlflowClient, runs: Callable[..., list[Run]]) -> None:
    for _ in range(2):
        tracker = Tracker(LOCAL, root, "demo", "demo-1")
        for number in (0, 1, 1):
            tracker.mirror(candidate(number))
    assert sorted(run.data.tags["evernas.trial"] for run in runs()) == ["0", "1"]
    assert len(client.get_metric_history(runs()[0].info.run_id, "accuracy")) == 2
    assert len(runs("cycle")) == 1


def test_a_child_that_was_only_begun_is_completed(
    root: Path, tracker: Tracker, client: MlflowClient, runs: Callable[..., list[Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a mirror leaves it that was killed after half of the points."""
    monkeypatch.setattr(client, "set_terminated", lambda *_, **__: sys.exit("killed"))
    monkeypatch.setattr(tracker, "client", client)
    with pytest.raises(SystemExit):
        tracker.mirror(candidate(points=candidate().points[:1]))
    assert runs()[0].info.status == "RUNNING"
    Tracker(LOCAL, root, "demo", "demo-1").mirror(candidate())
    [run] = runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"accuracy": 0.75, "params": 70.0}
    assert len(client.get_metric_history(run.info.run_id, "accuracy")) == 2


@pytest.mark.parametrize("call", ["create_run", "log_batch", "set_terminated"])
def test_a_request_whose_answer_was_lost_is_not_done_twice(
    tracker: Tracker,
    client: MlflowClient,
    runs: Callable[..., list[Run]],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    really, answers = getattr(client, call), [ConnectionError("reset"), None]

    def heard(*arguments: Any, **options: Any) -> Any:
        result = really(*arguments, **options)
        if answers and (error := answers.pop(0)):
            raise error
        return result

    tracker.parent  # noqa: B018  exists before the trouble
    monkeypatch.setattr(tracker, "client", client)
    monkeypatch.setattr(client, call, heard)
    tracker.mirror(candidate())
    [run] = runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"accuracy": 0.75, "params": 70.0}


def test_of_two_children_for_one_trial_the_whole_one_stays(
    root: Path, tracker: Tracker, client: MlflowClient, runs: Callable[..., list[Run]]
) -> None:
    """A creation that timed out here can still be carried out there, later."""
    tags = {"evernas.run": "demo-1", "evernas.kind": "candidate", "evernas.trial": "0"}
    tracker.mirror(candidate())
    experiment = client.get_run(tracker.parent).info.experiment_id
    client.create_run(experiment, tags=tags, start_time=1)
    Tracker(LOCAL, root, "demo", "demo-1").mirror(candidate())
    [run] = runs()
    assert run.data.metrics["accuracy"] == 0.75


def test_more_points_and_parameters_than_one_request_holds_all_arrive(
    tracker: Tracker, client: MlflowClient, runs: Callable[..., list[Run]]
) -> None:
    points = [("loss", float(step), step, step) for step in range(2100)]
    params = {f"decision {i}": str(i) for i in range(250)}
    tracker.mirror(candidate(points=points, params=params))
    [run] = runs()
    assert run.data.params == params
    history = client.get_metric_history(run.info.run_id, "loss")
    assert sorted(point.step for point in history) == list(range(2100))


def test_what_mlflow_would_cut_in_silence_is_cut_visibly(tracker: Tracker, runs: Callable[..., list[Run]]) -> None:
    tracker.mirror(candidate(params={"cell": "x" * 7000}, tags={"evernas.error": "y" * 9000}))
    [run] = runs()
    assert run.data.params["cell"] == "x" * 5999 + "…"
    assert run.data.tags["evernas.error"] == "y" * 7999 + "…"


def test_names_that_mlflow_refuses_do_not_keep_a_candidate_out(
    tracker: Tracker, runs: Callable[..., list[Run]]
) -> None:
    points: Sequence[Point] = [("top@1", 0.5, 0, 0), ("top#1", 0.75, 0, 0), ("/a//b", 1.0, 0, 0)]
    tracker.mirror(candidate(points=points, params={"op(0)": "a", "op[0]": "b"}))
    [run] = runs()
    assert run.data.metrics == {"top_1": 0.5, "top_1_": 0.75, "_a__b": 1.0}
    assert run.data.params == {"op_0_": "a", "op_0__": "b"}


# ---------------------------------------------------------------- the cycle


def test_two_cycles_of_one_experiment_do_not_mix(root: Path, runs: Callable[..., list[Run]]) -> None:
    first, second = (Tracker(LOCAL, root, "demo", f"demo-{i}") for i in (1, 2))
    first.mirror(candidate())
    second.mirror(candidate())
    assert first.parent != second.parent
    assert {run.data.tags["mlflow.parentRunId"] for run in runs()} == {first.parent, second.parent}


def test_a_run_that_kubeflow_made_becomes_the_parent_and_keeps_its_experiment(
    root: Path, client: MlflowClient, runs: Callable[..., list[Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = client.create_run(client.create_experiment("kubeflow")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    tracker = Tracker(LOCAL, root, "demo", "demo-1")
    tracker.mirror(candidate())
    assert tracker.parent == given
    [child] = runs("candidate", "kubeflow")
    assert child.data.tags["mlflow.parentRunId"] == given
    assert [run.info.run_id for run in runs("cycle", "kubeflow")] == [given]
    assert client.get_experiment_by_name("demo") is None


def test_the_parent_shows_parameters_tags_figures_and_files(
    root: Path, tracker: Tracker, client: MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text("<p>")
    for _ in range(2):  # the report may be written anew
        tracker.describe(
            params={"seed": 1}, tags={"evernas.decision": "promoted", "evernas.fairness.race & sex": "pass"}
        )
        tracker.measure({"test_accuracy": 0.875}, at=1000)
        tracker.files([tmp_path / "report.html"])
    run = client.get_run(tracker.parent)
    assert run.data.params == {"seed": "1"}
    assert run.data.tags["evernas.decision"] == "promoted"
    assert run.data.tags["evernas.fairness.race _ sex"] == "pass"
    assert len(client.get_metric_history(tracker.parent, "test_accuracy")) == 1
    assert [file.path for file in client.list_artifacts(tracker.parent)] == ["report.html"]
    assert (root / "mlartifacts" / "demo").is_dir()


def test_the_data_is_logged_once_on_the_parent(root: Path, client: MlflowClient) -> None:
    for _ in range(2):
        tracker = Tracker(LOCAL, root, "demo", "demo-1")
        tracker.dataset("adult", "ab" * 32, '{"kind": "builtin"}', {"train": 100})
    [logged] = client.get_run(tracker.parent).inputs.dataset_inputs
    assert logged.dataset.name == "adult"
    assert ("ab" * 32).startswith(logged.dataset.digest)


def test_closing_again_leaves_the_end_as_it_is(tracker: Tracker, client: MlflowClient) -> None:
    tracker.close("KILLED")
    before = client.get_run(tracker.parent).info
    time.sleep(0.01)
    tracker.close("KILLED")
    after = client.get_run(tracker.parent).info
    assert before.status == after.status == "KILLED"
    assert before.end_time == after.end_time
    tracker.close("FINISHED")
    assert client.get_run(tracker.parent).info.status == "FINISHED"


# ---------------------------------------------------------------- trouble


def test_a_server_that_is_not_there_is_an_outside_error_within_seconds(tmp_path: Path) -> None:
    tracker = Tracker(TrackingSpec(uri="http://127.0.0.1:9"), tmp_path, "demo", "demo-1")
    began = time.monotonic()
    with pytest.raises(OutsideError, match=r"^MLflow: .*127\.0\.0\.1"):
        tracker.mirror(candidate())
    assert time.monotonic() - began < 10


def test_the_sqlite_file_lies_in_the_root_unless_the_spec_names_a_server(tmp_path: Path) -> None:
    assert tracking_uri(LOCAL, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri(TrackingSpec(uri="http://mlflow:5000"), tmp_path) == "http://mlflow:5000"


def test_nothing_is_sent_to_mlflows_makers_and_no_pickle_is_loaded() -> None:
    code = (
        "import components.backends.mlflow_tracking\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION as pickle\n"
        "print(is_telemetry_disabled(), pickle.get())"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "False"]
