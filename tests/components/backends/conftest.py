"""Studies to run and to mirror, and what is slow to make: MLflow's tables, and a Ray cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import components.backends  # noqa: F401  its settings have to be there before a test imports Ray
from components.backends.s3 import S3Store
from nas_core.ledger import Ledger
from nas_core.store import MemoryStore
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.types import Architecture, Decision, Objective
from tests.components.backends.faulty_proxy import FaultyProxy, faulty_proxy
from tests.components.backends.s3_server import s3_server

OBJECTIVES = (Objective(metric="accuracy", goal="max"),)


class Space:
    """Three architectures for each of some options; nobody builds them."""

    def __init__(self, options: int) -> None:
        depth = Decision(name="depth", options=tuple(map(str, range(options))))
        self.decisions = (depth, Decision(name="width [units]", options=("8", "16", "32")))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


class Studies:
    """Opens studies on one ledger."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def open(self, *, options: int = 30, **more: Any) -> LedgerStudy:
        space = Space(options)
        return LedgerStudy(Ledger(self.store), space, OBJECTIVES, Random(space, OBJECTIVES, 0), **more)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.store)

    @staticmethod
    def names(architecture: Architecture) -> tuple[str, dict[str, str]]:
        depth, width = architecture
        return f"id-{depth}-{width}", {"depth": str(depth), "width [units]": ("8", "16", "32")[width]}

    @staticmethod
    def play(study: LedgerStudy, count: int, epochs: int = 2) -> Sequence[int]:
        """Run `count` trials to their ends, by hand."""
        numbers = []
        for trial in study.ask(count):
            for step in range(1, epochs + 1):
                study.report(trial.number, step, {"accuracy": step / 10, "loss": 1 / step})
            study.tell(trial.number, {"accuracy": epochs / 10, "params": 7.0}, 0.25)
            numbers.append(trial.number)
        return numbers


@pytest.fixture
def studies() -> Studies:
    return Studies()


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database."""
    from components.backends.mlflow_tracking import Tracker
    from components.spec import TrackingSpec

    root = tmp_path_factory.mktemp("mlflow")
    Tracker(TrackingSpec(), root, "Default", "none").parent  # noqa: B018  making it is the point
    return root / "mlflow.db"


@pytest.fixture
def root(tables: Path, tmp_path: Path) -> Path:
    """A folder of runs with a database of its own."""
    shutil.copy(tables, tmp_path / "mlflow.db")
    return tmp_path


# ---------------------------------------------------------------- S3


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """The address of a server that speaks the protocol of S3."""
    with s3_server() as address:
        yield address


@pytest.fixture
def s3(s3_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The same, with the variables by which AWS's tools find it; nothing else of the machine's settings counts."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "EVERNAS_S3"))]:
        monkeypatch.delenv(name)
    settings = {
        "AWS_ENDPOINT_URL_S3": s3_address,
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return s3_address


@pytest.fixture(scope="session")
def s3_client(s3_address: str) -> Iterator[Any]:
    """boto3's client of the server, to look behind a store's back."""
    import boto3

    keys = {"aws_access_key_id": "tests", "aws_secret_access_key": "tests"}
    client = boto3.session.Session().client("s3", endpoint_url=s3_address, region_name="eu-west-1", **keys)
    yield client
    client.close()


@pytest.fixture
def new_bucket(s3: str, s3_client: Any) -> Callable[..., str]:  # noqa: ARG001 - whoever has a bucket wants to reach it
    """Return a function that makes a bucket and gives its name; keywords are `create_bucket`'s."""

    def make(**options: Any) -> str:
        name = f"tests-{uuid.uuid4().hex[:12]}"
        s3_client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}, **options)
        return name

    return make


@pytest.fixture
def bucket(new_bucket: Callable[..., str]) -> str:
    """The name of an empty bucket."""
    return new_bucket()


@pytest.fixture
def s3_store(bucket: str) -> Iterator[S3Store]:
    """A store in an empty bucket."""
    store = S3Store(bucket, "some/where")
    yield store
    store.close()


@pytest.fixture
def proxy(s3: str) -> Iterator[FaultyProxy]:
    """A proxy before the server, which passes everything on until it is told otherwise."""
    with faulty_proxy(s3) as proxy:
        yield proxy


@pytest.fixture
def faulty_store(bucket: str, proxy: FaultyProxy) -> Iterator[S3Store]:
    """A store behind the proxy; objects of 1000 bytes and more go in parts."""
    store = S3Store(bucket, "some/where", {"endpoint_url": proxy.address}, multipart=1000)
    yield store
    store.close()


# ---------------------------------------------------------------- Ray

_HEAD = """
import components.backends, sys, ray
ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, logging_level="ERROR", _temp_dir=sys.argv[1])
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a running Ray cluster of one machine: 2 CPUs and, as far as Ray knows, a GPU."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        # Workers have the environment of their cluster. Ray reads its own once, so a token would come too late here.
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "TUNE_FUNCTION_THREAD_TIMEOUT_S": "1"}
        head = subprocess.Popen(
            [sys.executable, "-c", _HEAD, folder],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert head.stdin
        assert head.stdout
        try:
            address = head.stdout.readline().strip()
            patch.setenv("RAY_ADDRESS", address)
            yield address
        finally:
            head.stdin.close()
            head.wait()
            head.stdout.close()


@pytest.fixture(scope="session")
def new_studies() -> type[Studies]:
    return Studies
