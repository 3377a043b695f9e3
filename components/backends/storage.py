"""Where a run is stored, by its address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from urllib.parse import unquote, urlsplit

from nas_core.errors import InputError, OutsideError
from nas_core.store import FolderStore, Store, create_file

if TYPE_CHECKING:
    from components.backends.s3 import S3Store


@runtime_checkable
class FileStore(Store, Protocol):
    """A store that sends and fetches files without holding them in memory."""

    def put_file(self, key: str, path: Path) -> None:
        """Store the file at `path` under `key`, as `replace` does."""
        ...

    def get_file(self, key: str, path: Path) -> None:
        """Write the object to a file at `path`, whole or not at all; FileNotFoundError if there is no object."""
        ...


def open_store(uri: str) -> Store:
    """Return the store at `uri`: a folder's path, a `file://` address of one, or `s3://bucket/prefix`.

    InputError for anything else, and for S3 where boto3 is not installed.
    """
    if "://" not in uri:
        if not uri.strip():
            raise InputError("storage: must not be empty; give a folder such as ./runs")
        return FolderStore(Path(uri))
    parts = urlsplit(uri)
    if parts.scheme == "s3":
        return open_s3(uri)
    if parts.scheme != "file":
        raise InputError(
            f"storage: {parts.scheme}:// is not supported, got {uri!r}; give a folder's path, a file:// address or "
            "s3://bucket/prefix"
        )
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise InputError(f"storage: a file:// address must be file:///path, got {uri!r}; three slashes, then the path")
    return FolderStore(Path(unquote(parts.path)))


def open_s3(uri: str, *, retained: bool = False) -> S3Store:
    """Return the store at `s3://bucket/prefix`; `retained`: what is written there is kept from being deleted."""
    parts = urlsplit(uri)
    if parts.query or parts.fragment or "@" in parts.netloc or ":" in parts.netloc or "%" in uri:
        raise InputError(
            f"storage: must be s3://bucket/prefix and nothing else, got {uri!r}; "
            "name the server by AWS_ENDPOINT_URL_S3, the credentials by AWS's variables"
        )
    try:
        from components.backends.s3 import S3Store
        from components.backends.s3_retained import RetainedS3Store
    except ModuleNotFoundError as error:
        if error.name not in ("boto3", "botocore"):
            raise
        raise InputError(f"storage: {uri} needs boto3; pip install 'evernas[s3]'") from error
    return (RetainedS3Store if retained else S3Store)(parts.netloc, parts.path.strip("/"))


def put_file(store: Store, key: str, path: Path) -> None:
    """Store the file at `path` under `key`, in one step from the old object, if any, to the new one."""
    if isinstance(store, FileStore):
        store.put_file(key, path)
    else:
        store.replace(key, path.read_bytes())


def get_file(store: Store, key: str, path: Path) -> None:
    """Write the object to a new file at `path`, whole or not at all; FileNotFoundError if there is no object."""
    if isinstance(store, FileStore):
        store.get_file(key, path)
        return
    data = store.read(key)
    try:
        path.unlink(missing_ok=True)
        create_file(path, data)
    except OSError as error:
        raise OutsideError(f"storage: cannot write {path}: {error.strerror or error}; check its space") from error
