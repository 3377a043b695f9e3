"""S3 answers 503, 500, "slow down" and 409, and cuts connections before, in and after an answer."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import boto3

from components.backends.s3 import S3Store
from components.backends.store_checkpoints import StoreCheckpoints
from nas_core.ledger import Ledger
from nas_core.store import FolderStore
from tests.chaos.driver import OBJECTIVES, SIGNER, TRIALS, search
from tests.chaos.judge import Verdict, judge, same
from tests.components.backends.faulty_proxy import FaultyProxy, faulty_proxy
from tests.components.backends.s3_server import s3_server

BUCKET = "chaos"
SETTINGS = {
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_FAULTS = ("503", "slow down", "500", "409", "cut before", "cut after", "cut half-way")
_SHARE = 0.25


@contextmanager
def unreliable(server: str, seed: int) -> Iterator[FaultyProxy]:
    """Give a proxy to an empty bucket `chaos` that spoils a quarter of all requests."""
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.close()
    dice, lock = random.Random(seed), threading.Lock()

    def plan(method: str, _: str) -> str:
        with lock:
            fault = dice.choice(_FAULTS) if dice.random() < _SHARE else ""
        return "" if fault == "409" and method != "PUT" else fault

    with faulty_proxy(server) as proxy:
        proxy.plan = plan
        yield proxy
    bucket = boto3.resource("s3", endpoint_url=server).Bucket(BUCKET)
    bucket.objects.all().delete()
    bucket.delete()
    bucket.meta.client.close()


def store_at(address: str, prefix: str, kind: type[S3Store] = S3Store) -> S3Store:
    """Return what is below `prefix` in the bucket; objects of 2 kB already come in parts."""
    return kind(BUCKET, prefix, {"endpoint_url": address}, attempts=12, multipart=2000)


def storage_unreliable(folder: Path, seed: int) -> Verdict:
    """Search with ledger and checkpoints on an S3 that fails all the time; half-way all is opened anew."""
    peace, verdict = folder / "peace", Verdict("S3 answers 503 and cuts connections")
    search(peace)
    with patch.dict(os.environ, SETTINGS), s3_server() as server, unreliable(server, seed) as proxy:
        for part, trials in enumerate((TRIALS // 2, TRIALS)):
            store = store_at(proxy.address, "run")
            search(folder / "hurt", trials=trials, store=store, checkpoints=StoreCheckpoints(store, folder / f"{part}"))
            Ledger(store, SIGNER).compact()
            store.close()
        faults = set(proxy.faults())
        assert {"503", "cut before", "cut after"} <= faults, f"only {faults} happened"
        quiet = store_at(server, "run")
        verdict.add(judge(verdict.name, quiet, TRIALS, key=SIGNER.fingerprint))
        verdict.lost += not same(quiet, FolderStore(peace), OBJECTIVES)
        quiet.close()
    return verdict
