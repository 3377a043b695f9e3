"""MLflow with its artifacts in a bucket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from components.backends.mlflow_tracking import Tracker, tracking_uri
from components.backends.s3 import S3Store
from components.spec import TrackingSpec


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_files_of_a_run_go_to_the_bucket_and_come_back(
    root: Path, tmp_path: Path, s3: str, s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")  # MLflow has a variable of its own
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3)
    client = MlflowClient(tracking_uri(TrackingSpec(), root))
    client.create_experiment("demo", artifact_location=f"s3://{s3_store.bucket}/some/where/mlflow")
    summary, figure = tmp_path / "summary.json", tmp_path / "figure.png"
    summary.write_text(json.dumps({"decision": "promoted"}))
    figure.write_bytes(bytes(range(256)) * 4096)
    tracker = Tracker(TrackingSpec(), root, "demo", "demo-1")
    tracker.files([summary])
    tracker.files([figure], "figures")
    tracker.files([summary])  # again changes nothing
    tracker.close("FINISHED")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3)
    place = f"mlflow/{tracker.parent}/artifacts"
    assert s3_store.keys("mlflow/") == [f"{place}/figures/figure.png", f"{place}/summary.json"]
    assert s3_store.read(f"{place}/summary.json") == summary.read_bytes()
    back = Path(client.download_artifacts(tracker.parent, "figures", str(make(tmp_path / "back"))))
    assert (back / "figure.png").read_bytes() == figure.read_bytes()
