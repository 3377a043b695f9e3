"""Where objects are kept: bytes by key, each whole or absent. Standard library only.

A key is a relative path with `/`: `ledger/00000000.jsonl`. No part of it begins with a dot; such names in a folder are
this module's own (half-written files, a lock) and never show up as objects.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Protocol

from nas_core.errors import OutsideError

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class Store(Protocol):
    """Objects by key. Every method raises ValueError for a malformed key and OutsideError if the storage fails."""

    def create(self, key: str, data: bytes) -> None:
        """Store `data` durably, whole or not at all; FileExistsError if there is such a key, whoever was first."""
        ...

    def read(self, key: str) -> bytes:
        """Return the object; FileNotFoundError if there is none."""
        ...

    def keys(self, prefix: str = "") -> Sequence[str]:
        """Return the keys that begin with `prefix`, sorted as text."""
        ...

    def replace(self, key: str, data: bytes) -> None:
        """Store `data` durably under `key`, in one step from the old object, if any, to the new one."""
        ...

    def remove(self, *keys: str) -> None:
        """Remove the objects; nothing happens for one that is not there. After a crash some may be there again."""
        ...


class MemoryStore:
    """Objects in this process only, for studies without a disk."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = Lock()

    def create(self, key: str, data: bytes) -> None:
        """Store `data`; FileExistsError if there is such a key."""
        with self._lock:
            if _checked(key) in self._objects:
                raise FileExistsError(errno.EEXIST, "the object exists", key)
            self._objects[key] = data

    def read(self, key: str) -> bytes:
        """Return the object; FileNotFoundError if there is none."""
        try:
            return self._objects[_checked(key)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such object", key) from None

    def keys(self, prefix: str = "") -> Sequence[str]:
        """Return the keys that begin with `prefix`, sorted."""
        return sorted(key for key in list(self._objects) if key.startswith(prefix))

    def replace(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, whatever was there."""
        self._objects[_checked(key)] = data

    def remove(self, *keys: str) -> None:
        """Remove the objects that there are."""
        for key in keys:
            self._objects.pop(_checked(key), None)


class FolderStore:
    """Objects as files below `root`, which is made when the first object is."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()  # so that it stays the same if the process changes its folder

    def create(self, key: str, data: bytes) -> None:
        """Store `data` as a new file, on disk when this returns; FileExistsError if there is such a key."""
        path = self.root / _checked(key)
        with _storage("write", path):
            create_file(path, data)

    def read(self, key: str) -> bytes:
        """Return the file's bytes; FileNotFoundError if there is none."""
        path = self.root / _checked(key)
        with _storage("read", path):
            try:
                return path.read_bytes()
            except (IsADirectoryError, NotADirectoryError):
                raise FileNotFoundError(errno.ENOENT, "no such object", key) from None

    def keys(self, prefix: str = "") -> Sequence[str]:
        """Return the keys that begin with `prefix`, sorted; only the folder that `prefix` leads to is walked."""
        folder = prefix.rpartition("/")[0]
        start = self.root / _checked(folder) if folder else self.root
        with _storage("list", start):
            return sorted(key for key in _walk(start, f"{folder}/" if folder else "") if key.startswith(prefix))

    def replace(self, key: str, data: bytes) -> None:
        """Put a new file in the place of the old one, on disk when this returns."""
        path = self.root / _checked(key)
        with _storage("write", path):
            make_folder(path.parent)
            with _written(path.parent, data, 0o666) as temporary:
                temporary.replace(path)
                sync_folder(path.parent)

    def remove(self, *keys: str) -> None:
        """Remove the files that there are; a power cut may bring them back."""
        for key in keys:
            path = self.root / _checked(key)
            with _storage("remove", path), suppress(NotADirectoryError):
                path.unlink(missing_ok=True)


def create_file(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a new file, whole or not at all, with the permissions `mode` less the umask; make its folder if needed.

    A killed writer leaves no torn file, and of two writers one gets FileExistsError: the file is written under another
    name and then linked to its own, which fails if that is taken. Where a filesystem has no links, the same is done
    by renaming under a lock.
    """
    make_folder(path.parent)
    with _written(path.parent, data, mode) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            if temporary.stat().st_nlink != 2:  # 2: NFS repeated our own request after its answer was lost
                raise
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _rename_new(temporary, path)
        sync_folder(path.parent)


def _rename_new(temporary: Path, path: Path) -> None:
    with (path.parent / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            raise FileExistsError(errno.EEXIST, "the file exists", str(path))
        temporary.replace(path)


@contextmanager
def _written(folder: Path, data: bytes, mode: int) -> Iterator[Path]:
    """Give a new file in `folder` that holds `data` on disk; what is left of it at the end is removed."""
    path = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, so that they survive a power cut; NotADirectoryError if a file is in the way.

    `Path.mkdir` would call that a FileExistsError, which here means that somebody else wrote the object.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file is where a folder has to be", str(folder)) from None
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name


def _checked(key: str) -> str:
    """Return `key`; ValueError unless it stays below the root and is spelled in one way only."""
    if any(not part or part.startswith(".") for part in key.split("/")) or "\\" in key or "\0" in key:
        raise ValueError(f"key: must be names joined by '/', none empty or beginning with a dot, got {key!r}")
    return key


@contextmanager
def _storage(action: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutsideError(f"storage: cannot {action} {path}: {reason}; check its space and permissions") from error
