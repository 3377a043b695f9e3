"""Cycles in a bucket, over HTTP: every step as a pod has it, on an empty disk; killed, taken over, verified, served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from components.backends.s3 import S3Store
from nas_core.ledger import Ledger
from tests.chaos.cycle_faults import kill_with_descendants
from tests.components.backends.s3_server import s3_server
from tests.e2e.specs import TUMOUR, write_spec

ROOT_URI = "s3://runs/of/ours"
STEPS = ("data_prep", "search", "retrain", "fairness", "deploy")


@dataclass
class Bucket:
    """A bucket, and what commands need to reach it; each call is on a machine of its own, with an empty disk."""

    folder: Path
    environment: dict[str, str]
    machines: Iterator[int]

    def here(self) -> dict[str, str]:
        """The environment of a new machine."""
        return {**self.environment, "EVERNAS_CACHE": str(self.folder / f"machine-{next(self.machines)}")}

    def evernas(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "pipelines.cli", *map(str, arguments))

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.here(), capture_output=True, text=True, timeout=500, check=False
        )

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pipelines.cli", *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.here(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def spec(self, name: str, **changes: Any) -> Path:
        folder = self.folder / name
        folder.mkdir()
        tracking = {"uri": f"sqlite:///{self.folder}/mlflow.db"}
        return write_spec(folder, TUMOUR, name=name, tracking=tracking, retrain__seeds=1, **changes)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    import boto3

    folder = tmp_path_factory.mktemp("s3")
    with s3_server() as address:
        keys = {"aws_access_key_id": "tests", "aws_secret_access_key": "tests"}
        client = boto3.session.Session().client("s3", endpoint_url=address, region_name="us-east-1", **keys)
        client.create_bucket(Bucket="runs")
        client.create_bucket(Bucket="anchors")
        client.close()
        own = {
            "AWS_ENDPOINT_URL_S3": address,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_EC2_METADATA_DISABLED": "true",
            "EVERNAS_ANCHORS": "s3://anchors",
            "EVERNAS_SIGNING_KEY": str(folder / "signing.pem"),
            "EVERNAS_ROOT": ROOT_URI,
            "OMP_NUM_THREADS": "1",
        }
        yield Bucket(folder, {**os.environ, **own}, count())


@pytest.fixture
def open_store(bucket: Bucket) -> Iterator[Callable[[str], S3Store]]:
    """Opens a run's store to look into it."""
    address = bucket.environment["AWS_ENDPOINT_URL_S3"]
    keys = {"aws_access_key_id": "tests", "aws_secret_access_key": "tests"}
    opened: list[S3Store] = []

    def open_at(run: str) -> S3Store:
        opened.append(S3Store("runs", f"of/ours/{run}", {"endpoint_url": address, "region_name": "us-east-1", **keys}))
        return opened[-1]

    yield open_at
    for store in opened:
        store.close()


def entries(store: S3Store, *kinds: str) -> list[dict[str, Any]]:
    return [entry.data for entry in Ledger(store).entries(set(kinds))]


def call(stage: str, *arguments: object) -> str:
    return f"from components.{stage}.step import main; print(main(*{arguments!r}))"


@pytest.mark.slow
def test_each_step_on_a_machine_of_its_own(bucket: Bucket, open_store: Callable[[str], S3Store]) -> None:
    spec = bucket.spec("pods")
    begin = call("drift", ROOT_URI, "pods-1", spec.read_text(), str(bucket.folder), False)
    done = bucket.python("-c", begin)
    assert done.stdout.strip() == "search", done.stderr
    for stage in STEPS:
        done = bucket.python("-c", call(stage, ROOT_URI, "pods-1"))
        assert done.returncode == 0, f"{stage}: {done.stderr}"
    done = bucket.python("-c", call("report", ROOT_URI, "pods-1"))
    assert done.returncode == 0, done.stderr

    store = open_store("pods-1")
    assert [stage["stage"] for stage in entries(store, "stage")] == ["drift", *STEPS]
    assert "report.html" in entries(store, "published")[-1]["files"]
    checked = bucket.evernas("audit", "verify", "pods-1")
    assert checked.returncode == 0, checked.stderr

    model = next(key for key in store.keys("files/") if key.endswith("/model.onnx"))
    store.replace(model, store.read(model) + b"!")
    checked = bucket.evernas("audit", "verify", "pods-1")
    assert checked.returncode == 5
    assert "deploy/bundle/model.onnx: differs" in checked.stderr


@pytest.mark.slow
def test_a_killed_search_goes_on_elsewhere_and_what_it_finds_is_served(
    bucket: Bucket, open_store: Callable[[str], S3Store]
) -> None:
    spec = bucket.spec("hurt", search__budget__trials=6, search__estimator__epochs=20)
    store = open_store("hurt-1")
    with bucket.start("run", spec, "--run", "hurt-1") as process:
        deadline = time.monotonic() + 180
        while len(entries(store, "outcome")) < 2:
            assert time.monotonic() < deadline, "the search has not begun"
            time.sleep(0.1)
        kill_with_descendants(process)
    before = entries(store, "outcome")

    done = bucket.evernas("resume", "latest", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["decision"] == "promoted"
    assert entries(store, "outcome")[: len(before)] == before
    assert Counter(outcome["number"] for outcome in entries(store, "outcome")) == dict.fromkeys(range(6), 1)
    assert len(entries(store, "resumed")) == 1
    assert Counter(stage["stage"] for stage in entries(store, "stage")) == dict.fromkeys(["drift", *STEPS], 1)
    checked = bucket.evernas("audit", "verify", "hurt-1")
    assert checked.returncode == 0, checked.stderr

    told = {each["run"]: each for each in json.loads(bucket.evernas("list", "runs", "--json").stdout)}
    assert {"name": "hurt", "decision": "promoted", "latest": True}.items() <= told["hurt-1"].items()
    drifted = bucket.evernas("drift", spec, "--json")
    assert drifted.returncode == 0, drifted.stderr
    with bucket.start("serve", "hurt", "--port", "0") as server:
        try:
            assert server.stdout
            line = server.stdout.readline().decode()
            assert line.startswith("serving hurt "), line
            with urllib.request.urlopen(f"{line.split()[-1]}/v2/models/hurt/ready", timeout=20) as answer:  # noqa: S310
                assert json.load(answer)["ready"] is True
        finally:
            server.terminate()


def test_without_a_tracking_server_nothing_is_written(bucket: Bucket, open_store: Callable[[str], S3Store]) -> None:
    folder = bucket.folder / "untracked"
    folder.mkdir()
    done = bucket.evernas("run", write_spec(folder, TUMOUR), "--run", "untracked-1")
    assert done.returncode == 2
    assert "tracking.uri: is not set" in done.stderr
    assert open_store("untracked-1").keys() == []
