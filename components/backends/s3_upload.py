"""Large objects in parts, sent side by side and joined in one step."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from components.backends.s3_errors import NO_UPLOAD, code_of

Part = Callable[[int, int], bytes]
"""Gives the bytes of a part by its start and length."""

_PART = 16 * 1024**2
_MOST_PARTS = 10_000  # S3's limit
_THREADS = 4
_PART_ARGUMENTS = ("ChecksumAlgorithm",)


class Unsettled(Exception):  # noqa: N818 - it is no error yet
    """The upload is not known any more: it was joined by a request whose answer was lost, or it was given up.

    `error` is what to raise if the object turns out not to be there.
    """

    def __init__(self, error: ClientError) -> None:
        super().__init__(str(error))
        self.error = error


def upload(
    client: Any,
    part: Part,
    size: int,
    arguments: Mapping[str, str],
    written: Mapping[str, Any],
    condition: Mapping[str, str],
) -> None:
    """Send `size` bytes as one object; it appears whole, when all parts are there, or not at all.

    `arguments` names the object, `written` is what is said of it, `condition` has to hold at the end. What has been
    sent of an object that does not come to be is removed; a process killed on the way leaves invisible parts, which a
    bucket's rule `AbortIncompleteMultipartUpload` removes.
    """
    begun = client.create_multipart_upload(**arguments, **written)
    named = {**arguments, "UploadId": begun["UploadId"]}
    options = {name: written[name] for name in _PART_ARGUMENTS if name in written}
    length = max(_PART, -(-size // _MOST_PARTS))

    def send(number: int) -> dict[str, Any]:
        start = (number - 1) * length
        answer = client.upload_part(Body=part(start, min(length, size - start)), PartNumber=number, **named, **options)
        checksums = {name: value for name, value in answer.items() if name in _CHECKSUMS}
        return {"PartNumber": number, "ETag": answer["ETag"], **checksums}

    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            parts = list(pool.map(send, range(1, -(-size // length) + 1)))
        client.complete_multipart_upload(**named, MultipartUpload={"Parts": parts}, **condition)
    except ClientError as error:
        if code_of(error) in NO_UPLOAD:
            raise Unsettled(error) from error
        _give_up(client, named)
        raise
    except BaseException:
        _give_up(client, named)
        raise


def _give_up(client: Any, named: Mapping[str, str]) -> None:
    with contextlib.suppress(ClientError, BotoCoreError):
        client.abort_multipart_upload(**named)


_CHECKSUMS = ("ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256")


def digest_of(source: bytes | Path) -> str:
    """Return the SHA-256, in hex, of bytes or of a file."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parts_of(source: bytes | Path) -> Part:
    """Return a function that gives `length` bytes from `start` on."""
    if isinstance(source, bytes):
        return lambda start, length: source[start : start + length]

    def read(start: int, length: int) -> bytes:
        with source.open("rb") as file:
            file.seek(start)
            return file.read(length)

    return read
