"""MLflow on PostgreSQL, as a team's tracking server has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from components.backends.mlflow_tracking import Candidate, Tracker
from components.spec import TrackingSpec
from tests.components.backends.postgres_server import postgres_server, programs


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed; pip install psycopg2-binary")
    with postgres_server(found) as address:
        yield address
        _disconnect()


def _disconnect() -> None:
    """Close MLflow's connections, which it keeps for the life of the process."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with SqlAlchemyStore._engine_map_lock:
        for uri in [uri for uri in SqlAlchemyStore._engine_map if uri.startswith("postgresql")]:
            SqlAlchemyStore._engine_map.pop(uri).dispose()


def candidate(number: int, *, failed: bool = False) -> Candidate:
    return Candidate(
        number=number,
        name=f"trial-{number}",
        params={"depth": str(number), "width [units]": "16"},
        points=[("accuracy", number / 10, 1000 + step, step) for step in range(3)],
        tags={"evernas.ledger_seq": str(number)},
        failed=failed,
        start=1000,
        end=2000,
    )


def children(client: MlflowClient, experiment: str) -> list[Run]:
    place = client.get_experiment_by_name(experiment)
    found = client.search_runs([place.experiment_id], "tags.`evernas.kind` = 'candidate'", order_by=["params.depth"])
    return list(found)


def test_a_cycle_is_mirrored_whole_and_once(address: str, tmp_path: Path) -> None:
    spec = TrackingSpec(uri=address)
    client = MlflowClient(address)
    client.create_experiment("demo", artifact_location=(tmp_path / "artifacts").as_uri())
    tracker = Tracker(spec, tmp_path, "demo", "demo-1")
    tracker.describe(params={"seed": 3, "long": "ä" * 9000}, tags={"evernas.spec": "x" * 9000})
    for number in range(3):
        tracker.mirror(candidate(number, failed=number == 2))
    tracker.measure({"accuracy": 0.9}, 5000)
    tracker.dataset("adult", "ab" * 32, "builtin", {"rows": 10})
    (tmp_path / "summary.json").write_text("{}")
    tracker.files([tmp_path / "summary.json"])
    again = Tracker(spec, tmp_path, "demo", "demo-1")  # another process that catches up
    for number in range(4):
        again.mirror(candidate(number, failed=number == 2))
    again.close("FINISHED")
    assert again.parent == tracker.parent
    runs = children(client, "demo")
    assert [run.data.params["depth"] for run in runs] == ["0", "1", "2", "3"]
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED", "FAILED", "FINISHED"]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {tracker.parent}
    for number, run in enumerate(runs):
        history = client.get_metric_history(run.info.run_id, "accuracy")
        assert [(point.value, point.timestamp, point.step) for point in history] == [
            (number / 10, 1000 + step, step) for step in range(3)
        ]
    parent = client.get_run(tracker.parent)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["seed"] == "3"
    assert parent.data.metrics == {"accuracy": 0.9}
    assert [artifact.path for artifact in client.list_artifacts(tracker.parent)] == ["summary.json"]
    assert len(parent.inputs.dataset_inputs) == 1
