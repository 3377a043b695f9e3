"""Objects that shall outlive whoever deletes them: written with Object Lock, and known by their oldest version."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from components.backends.s3 import S3Store
from components.backends.s3_errors import code_of, s3_errors
from components.backends.s3_settings import is_key
from nas_core.errors import InputError

_DAYS = "EVERNAS_ANCHOR_RETENTION_DAYS"
_DEFAULT_DAYS = 3650
_NO_LOCK = {"ObjectLockConfigurationNotFoundError", "InvalidRequest", "NotImplemented", "MethodNotAllowed"}


class Original(NamedTuple):
    """The oldest version of an object; `hidden` says how it has been covered since, nothing if it has not."""

    version: str
    hidden: str


class RetainedS3Store(S3Store):
    """An `S3Store` whose objects are retained, where the bucket has Object Lock, and count by their oldest version.

    The bucket's own default retention, if it has one, decides. Else each object is kept for
    EVERNAS_ANCHOR_RETENTION_DAYS (3650) in the mode GOVERNANCE. A bucket with versions, locked or not, lets anybody
    who may write cover an object by a newer version or a delete marker; `originals` sees through both.
    """

    def originals(self, prefix: str) -> Mapping[str, Original]:
        """Return the oldest version of each object that there is or was under a key with `prefix`."""
        start = self.prefix + prefix
        versions: dict[str, list[tuple[datetime, str]]] = {}
        newest: dict[str, tuple[str, bool]] = {}
        with s3_errors("list", self.bucket, start):
            for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=start):
                for item in page.get("Versions", ()):
                    # Of one key the newest comes first; times may be equal.
                    versions.setdefault(item["Key"], []).append((item["LastModified"], item["VersionId"]))
                for kind, deleted in (("Versions", False), ("DeleteMarkers", True)):
                    for item in page.get(kind, ()):
                        if item["IsLatest"]:
                            newest[item["Key"]] = (item["VersionId"], deleted)
        found = {}
        for name, all_of_it in versions.items():
            oldest = min(reversed(all_of_it), key=lambda one: one[0])[1]
            latest, deleted = newest.get(name, (oldest, False))
            hidden = "deleted" if deleted else "" if latest == oldest else "overwritten"
            found[name[len(self.prefix) :]] = Original(oldest, hidden)
        return {key: original for key, original in sorted(found.items()) if is_key(key)}

    def read_version(self, key: str, version: str) -> bytes:
        """Return that version of the object; FileNotFoundError if there is none."""
        return b"".join(self._chunks(key, VersionId=version))

    def _retention(self) -> Mapping[str, Any]:
        if self._lock is None:
            return {}
        checksum = {"ChecksumAlgorithm": "SHA256"}  # S3 wants one with every locked object
        if self._lock:
            return checksum
        until = datetime.now(UTC) + timedelta(days=_days())
        return {**checksum, "ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}

    @cached_property
    def _lock(self) -> bool | None:
        """Whether the bucket has a default retention; None if it has no Object Lock."""
        try:
            answer = self._client.get_object_lock_configuration(Bucket=self.bucket)
        except ClientError as error:
            if code_of(error) in _NO_LOCK:
                return None
            raise
        configuration = answer["ObjectLockConfiguration"]
        if configuration.get("ObjectLockEnabled") != "Enabled":
            return None
        return bool(configuration.get("Rule", {}).get("DefaultRetention"))


def _days() -> int:
    text = os.environ.get(_DAYS, str(_DEFAULT_DAYS))
    if not text.isdecimal() or not 1 <= int(text) <= 36500:
        raise InputError(f"{_DAYS}: must be a whole number of days from 1 to 36500, got {text!r}")
    return int(text)
