"""What an S3 store is given: names, the client's settings, encryption."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

from nas_core.errors import InputError

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SSE = "EVERNAS_S3_SSE"


def is_key(key: str) -> bool:
    """Tell whether `key` has the form of an object's key."""
    return not (any(not part or part.startswith(".") for part in key.split("/")) or "\\" in key or "\0" in key)


def checked_key(key: str) -> str:
    """Return `key`; ValueError unless it is spelled as keys of every store are."""
    if not is_key(key):
        raise ValueError(f"key: must be names joined by '/', none empty or beginning with a dot, got {key!r}")
    return key


def check_place(bucket: str, prefix: str) -> None:
    """Raise InputError for names that cannot be a bucket's, or a prefix (names joined by '/', or nothing)."""
    if not _BUCKET.fullmatch(bucket):
        raise InputError(f"storage: a bucket's name has 3 to 63 of a-z, 0-9, '-' and '.', got {bucket!r}")
    if prefix and not is_key(prefix):
        raise InputError(
            "storage: what follows the bucket must be names joined by '/', none empty or beginning with a dot, "
            f"got {prefix!r}"
        )


def connect(options: Mapping[str, Any], attempts: int) -> Any:
    """Return boto3's client, which may be used by many threads; InputError for an endpoint that is no address."""
    settings = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=10,
        read_timeout=30,
        max_pool_connections=16,
    )
    try:
        return boto3.session.Session().client("s3", config=settings, **options)
    except ValueError as error:
        raise InputError(f"storage: {error}; check AWS_ENDPOINT_URL_S3 and AWS_REGION") from error


def encryption() -> dict[str, str]:
    """Return what a write has to say of encryption by the server, from EVERNAS_S3_SSE; InputError for another value."""
    asked = os.environ.get(_SSE, "")
    mode, _, key = asked.removeprefix("aws:").partition(":")
    if not asked:
        return {}
    if asked == "AES256":
        return {"ServerSideEncryption": "AES256"}
    if mode != "kms" or not asked.startswith("aws:") or (":" in asked[4:] and not key):
        raise InputError(f"{_SSE}: must be AES256, aws:kms or aws:kms:<key id>, got {asked!r}")
    return {"ServerSideEncryption": "aws:kms", **({"SSEKMSKeyId": key} if key else {})}
