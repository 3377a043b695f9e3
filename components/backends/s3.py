"""Objects in a bucket of S3, or of a server that speaks its protocol. Needs boto3: `pip install evernas[s3]`.

Endpoint, region and credentials are found as AWS's own tools find them: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL,
AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID, a role of the pod or machine. EVERNAS_S3_SSE asks for encryption by the
server: `AES256`, `aws:kms`, or `aws:kms:<key id>`.

Every object holds in its metadata the SHA-256 of its bytes, which is checked whenever it is read, and a token of the
call that wrote it. So a writer whose answer was lost knows its own object from another's.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError

from components.backends.s3_errors import CONFLICT, NOT_FOUND, TAKEN, code_of, s3_errors
from components.backends.s3_settings import check_place, checked_key, connect, encryption, is_key
from components.backends.s3_upload import Unsettled, digest_of, parts_of, upload
from nas_core.errors import OutsideError
from nas_core.store import make_folder, sync_folder

_CHUNK = 1024**2
_MOST_NAMES = 1000  # S3's limit for one request
_PROBE = ".conditional"
_TOKEN, _SHA256 = "evernas-token", "evernas-sha256"


class S3Store:
    """See `nas_core.store.Store`; the objects `<prefix>/<key>` of `bucket`.

    A request that fails is tried up to `attempts` times, with growing pauses. From `multipart` bytes on an object is
    sent in parts. `options` are arguments of boto3's client; leave them out to have AWS's usual ones. InputError for
    names that S3 does not allow. A store may be pickled; it connects when it is first used.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        options: Mapping[str, Any] | None = None,
        *,
        attempts: int = 6,
        multipart: int = 64 * _CHUNK,
    ) -> None:
        check_place(bucket, prefix)
        self.bucket, self.prefix = bucket, f"{prefix}/" if prefix else ""
        self._options, self._attempts, self._multipart = dict(options or {}), attempts, multipart
        self._encryption = encryption()
        self._conditional = False

    def __repr__(self) -> str:
        return f"S3Store('s3://{self.bucket}/{self.prefix}')"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.bucket, self.prefix.rstrip("/"), self._options, self._limits)

    @property
    def _limits(self) -> dict[str, Any]:
        return {"attempts": self._attempts, "multipart": self._multipart}

    def close(self) -> None:
        """Close the connections; the store opens new ones if it is used again."""
        if client := self.__dict__.pop("_client", None):
            client.close()

    # ------------------------------------------------------------ objects

    def create(self, key: str, data: bytes) -> None:
        """Store `data`, whole or not at all; FileExistsError if there is such a key, whoever was first.

        OutsideError if the server was not heard any more: whether the object is there is then not known.
        """
        name = self._name(key)
        with s3_errors("write", self.bucket, name):
            self._require_conditional_writes()
            if not self._put(name, data, new=True):
                raise FileExistsError(errno.EEXIST, "the object exists", key)

    def read(self, key: str) -> bytes:
        """Return the object; FileNotFoundError if there is none."""
        return b"".join(self._chunks(key))

    def keys(self, prefix: str = "") -> Sequence[str]:
        """Return the keys that begin with `prefix`, sorted; names that begin with a dot are not among them."""
        if folder := prefix.rpartition("/")[0]:
            checked_key(folder)
        start = self.prefix + prefix
        with s3_errors("list", self.bucket, start):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start)
            found = [item["Key"][len(self.prefix) :] for page in pages for item in page.get("Contents", ())]
        return sorted(key for key in found if is_key(key))

    def replace(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, in one step from the old object, if any, to the new one."""
        name = self._name(key)
        with s3_errors("write", self.bucket, name):
            self._put(name, data)

    def remove(self, *keys: str) -> None:
        """Remove the objects that there are, a thousand a request; a bucket with versions keeps those."""
        names = [self._name(key) for key in keys]
        for start in range(0, len(names), _MOST_NAMES):
            some = names[start : start + _MOST_NAMES]
            with s3_errors("remove", self.bucket, some[0] if len(some) == 1 else f"{some[0]} and others"):
                named = {"Objects": [{"Key": name} for name in some], "Quiet": True}
                answer = self._client.delete_objects(Bucket=self.bucket, Delete=named)
                for refused in answer.get("Errors", ()):
                    raise ClientError({"Error": {**refused, "Message": refused.get("Message", "")}}, "DeleteObjects")

    # ------------------------------------------------------------ files

    def put_file(self, key: str, path: Path) -> None:
        """Store the file at `path` under `key` as `replace` does; it is never in memory as a whole."""
        name = self._name(key)
        with s3_errors("write", self.bucket, name):
            self._put(name, path)

    def get_file(self, key: str, path: Path) -> None:
        """Write the object to a file at `path`, whole or not at all; FileNotFoundError if there is no object."""
        draft = path.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            make_folder(path.parent)
            with draft.open("xb") as file:
                for chunk in self._chunks(key):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            sync_folder(path.parent)
        except FileNotFoundError:
            raise
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutsideError(f"storage: cannot write {path}: {reason}; check its space and permissions") from error
        finally:
            draft.unlink(missing_ok=True)

    # ------------------------------------------------------------ inside

    @cached_property
    def _client(self) -> Any:
        return connect(self._options, self._attempts)

    def _name(self, key: str) -> str:
        return self.prefix + checked_key(key)

    def _put(self, name: str, source: bytes | Path, *, new: bool = False) -> bool:
        """Send `source`; False if `new` and somebody else's object is there."""
        token, digest = secrets.token_hex(16), digest_of(source)
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        arguments = {"Bucket": self.bucket, "Key": name}
        written = {"Metadata": {_TOKEN: token, _SHA256: digest}, **self._encryption, **self._retention()}
        condition = {"IfNoneMatch": "*"} if new else {}
        for attempt in range(self._attempts):
            try:
                if size < self._multipart:
                    data = source if isinstance(source, bytes) else source.read_bytes()
                    self._client.put_object(Body=data, **arguments, **written, **condition)
                else:
                    upload(self._client, parts_of(source), size, arguments, written, condition)
            except ClientError as error:
                if code_of(error) in TAKEN and new:
                    return self._is_ours(name, token)
                if code_of(error) not in CONFLICT or attempt == self._attempts - 1:
                    raise
                time.sleep(min(2.0, 0.05 * 2**attempt))  # somebody else is writing this key: look again who has won
            except Unsettled as unsettled:  # the parts are gone: joined by a request whose answer was lost, or not
                if not self._is_ours(name, token):
                    raise unsettled.error from None
                return True
            else:
                return True
        raise AssertionError("unreachable")

    def _is_ours(self, name: str, token: str) -> bool:
        """Tell whether the object was written by the call that has `token`, whose answer must then have been lost."""
        try:
            head = self._client.head_object(Bucket=self.bucket, Key=name)
        except ClientError as error:
            if code_of(error) in NOT_FOUND:  # removed since
                return False
            raise
        return bool(head["Metadata"].get(_TOKEN) == token)

    def _retention(self) -> Mapping[str, Any]:
        """Return what a write has to say of how long the object may not be deleted."""
        return {}

    def _require_conditional_writes(self) -> None:
        """Find out, once, whether the server keeps its promise to create an object only if there is none.

        A server that does not know the condition would let two writers of a ledger overwrite each other in silence.
        """
        name = self.prefix + _PROBE
        if not self._conditional and self._put(name, b"", new=True) and self._put(name, b"", new=True):
            raise OutsideError(
                f"storage: the server of s3://{self.bucket} ignores `If-None-Match: *`, so it cannot keep two writers "
                "apart; use one with conditional writes, as AWS S3 and MinIO have them"
            )
        self._conditional = True

    def _chunks(self, key: str, **version: str) -> Iterator[bytes]:
        """Yield the bytes of the object, or of its `VersionId`; what breaks off is taken up again where it did."""
        name = self._name(key)
        digest, done, expected = hashlib.sha256(), 0, ""
        same: dict[str, str] = {}
        wrong = (
            f"storage: s3://{self.bucket}/{name} came with other bytes than were stored; read it again, or restore it"
        )
        with s3_errors("read", self.bucket, name):
            for attempt in range(self._attempts):
                begin = {"Range": f"bytes={done}-"} if done else {}
                try:
                    answer = self._client.get_object(Bucket=self.bucket, Key=name, **version, **same, **begin)
                except ClientError as error:
                    if code_of(error) in NOT_FOUND:
                        raise FileNotFoundError(errno.ENOENT, "no such object", key) from None
                    raise
                expected, same = answer["Metadata"].get(_SHA256, ""), {"IfMatch": answer["ETag"]}
                size = done + answer["ContentLength"]
                try:
                    with closing(answer["Body"]) as body:
                        while chunk := body.read(_CHUNK):
                            digest.update(chunk)
                            done += len(chunk)
                            yield chunk
                    break
                except FlexibleChecksumError as error:
                    raise OutsideError(f"{wrong} ({error})") from error
                except BotoCoreError:
                    if done == size:
                        break
                    if attempt == self._attempts - 1:
                        raise
                    time.sleep(min(2.0, 0.05 * 2**attempt))
        if expected and digest.hexdigest() != expected:
            raise OutsideError(f"{wrong} (SHA-256 {digest.hexdigest()[:16]}, expected {expected[:16]})")


def _restored(
    kind: type[S3Store], bucket: str, prefix: str, options: Mapping[str, Any], limits: Mapping[str, Any]
) -> S3Store:
    return kind(bucket, prefix, options, **limits)
