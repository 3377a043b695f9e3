"""Anchors in a bucket that keeps versions: who deletes or overwrites one is found out, and nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from components.audit import verify_folder
from components.audit.export import export
from nas_core.errors import IntegrityError, OutsideError
from tests.components.audit.forging import better, forge, objects, small_run
from tests.components.backends.s3_server import s3_server

BUCKET = "anchors"


@pytest.fixture
def client(own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    keys = {"aws_access_key_id": "tests", "aws_secret_access_key": "tests"}
    with s3_server() as address:
        for name, value in {**{key.upper(): value for key, value in keys.items()}, "AWS_REGION": "eu-west-1"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("EVERNAS_SIGNING_KEY", str(own / "s3.pem"))
        monkeypatch.setenv("EVERNAS_ANCHORS", f"s3://{BUCKET}/evernas")
        client = boto3.session.Session().client("s3", endpoint_url=address, region_name="eu-west-1", **keys)
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield client
        client.close()


def test_what_is_hidden_in_the_bucket_is_read_and_named(client: Any, tmp_path: Path) -> None:
    run = small_run(tmp_path)
    kept = [each["Key"] for each in client.list_objects_v2(Bucket=BUCKET, Prefix="evernas/small/")["Contents"]]
    assert dict(verify_folder(run.folder)["anchors"])["checked"] == len(kept) >= 3
    export(run.folder, tmp_path / "export")
    assert len((tmp_path / "export" / "heads.jsonl").read_bytes().splitlines()) == len(kept)
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "export" / "verify.py")], capture_output=True, check=False
    )
    assert done.returncode == 0

    seq = int(kept[-1].rpartition("/")[2].partition(".")[0])
    client.delete_object(Bucket=BUCKET, Key=kept[-1])
    with pytest.raises(IntegrityError, match=f"anchor of entry {seq}: was deleted in its bucket"):
        verify_folder(run.folder)
    shutil.copytree(run.folder, tmp_path / "cut" / run.id)
    objects(tmp_path / "cut" / run.id)[-1].unlink()
    with pytest.raises(IntegrityError, match=f"missing, though entries up to {seq} were anchored"):
        verify_folder(tmp_path / "cut" / run.id)


def test_a_bucket_that_does_not_answer_is_no_proof(
    client: Any,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = small_run(tmp_path)
    monkeypatch.setenv("EVERNAS_ANCHORS", "s3://no-such-bucket/evernas")
    with pytest.raises(OutsideError, match=r"no-such-bucket.*--no-anchors checks without"):
        verify_folder(run.folder)
    assert verify_folder(run.folder, anchors=False)["anchors"] is None
    forge(run.folder, better, None)
    with pytest.raises(IntegrityError, match="a seal whose signature is not right"):
        verify_folder(run.folder)
