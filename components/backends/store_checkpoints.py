"""Checkpoints of trials in a store, for workers that share no file system; see `nas_core.checkpoints`.

The objects of a checkpoint are `weights/<number>/<attempt>-<step>/<path>`. `files.json` among them lists the others
with their SHA-256, and `state.json` is written last: without it a checkpoint does not count.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import TemporaryDirectory

from components.backends.storage import get_file, put_file
from nas_core.errors import OutsideError
from nas_core.store import Store

_KEY = re.compile(r"weights/([0-9]+)/([0-9]+)-([0-9]+)/(.+)")
_LIST, _STATE = "files.json", "state.json"
_TRIES = 5

Version = tuple[int, int]
"""Attempt and step."""


class StoreCheckpoints:
    """What trials have saved in `store`. The newest ones are fetched into the folder `cache`."""

    def __init__(self, store: Store, cache: Path) -> None:
        self._store, self._cache = store, cache.absolute()

    def newest(self, number: int) -> Path | None:
        """Return a local copy of the checkpoint of trial `number` with the highest attempt, and then step.

        None if there is none; OutsideError if the store fails, or holds other bytes than were saved. The copy is not
        to be changed, and stays until a later checkpoint of the trial is fetched.
        """
        for _ in range(_TRIES):
            found = [version for version, keys in self._found(number).items() if _STATE in keys]
            if not found:
                return None
            try:
                return self._fetched(number, max(found))
            except (FileNotFoundError, _ChangedError):
                continue  # a later one has taken its place meanwhile, or it is being saved again
        raise OutsideError(
            f"checkpoint of trial {number}: its files are not what was saved; remove weights/{number}/ in the storage "
            "to begin the trial anew"
        )

    def save(self, number: int, attempt: int, step: int, write: Callable[[Path], None]) -> None:
        """Let `write` fill a new folder; when all of it is stored it is the checkpoint, and earlier ones go.

        A process killed on the way leaves the earlier checkpoint as it was. Nothing is saved if a later attempt has
        saved something. Empty folders are not kept.
        """
        if self._later(number, attempt):
            return
        self._cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".save-", dir=self._cache) as name:
            folder = Path(name)
            self._write(write, folder)
            self._send(folder, f"weights/{number}/{attempt}-{step}")
        for version, files in self._found(number).items():
            if version < (attempt, step):
                self._remove(number, version, files)

    def keep(self, numbers: Collection[int]) -> None:
        """Delete the checkpoints of all trials but `numbers`."""
        for number, versions in self._listed("weights/").items():
            if number not in numbers:
                for version, files in versions.items():
                    self._remove(number, version, files)
        folder = self._cache / "weights"
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name.isdecimal() and int(path.name) not in numbers:
                shutil.rmtree(path, ignore_errors=True)

    # ------------------------------------------------------------ to the store

    @staticmethod
    def _write(write: Callable[[Path], None], folder: Path) -> None:
        try:
            write(folder)
        except Exception as error:
            if isinstance(error, OSError) or os.strerror(errno.ENOSPC) in str(error):  # safetensors has its own errors
                raise OutsideError(
                    f"storage: cannot write a checkpoint to {folder}: {error}; check its space and permissions"
                ) from error
            raise

    def _send(self, folder: Path, place: str) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files = {path.relative_to(folder).as_posix(): path for path in paths}
        state = files.pop(_STATE)
        digests = {name: _digest(path) for name, path in {**files, _STATE: state}.items()}
        self._store.remove(f"{place}/{_STATE}")  # the same attempt saves the same step again
        for name, path in files.items():
            put_file(self._store, f"{place}/{name}", path)
        self._store.replace(f"{place}/{_LIST}", json.dumps(digests, sort_keys=True).encode())
        put_file(self._store, f"{place}/{_STATE}", state)

    def _remove(self, number: int, version: Version, files: Collection[str]) -> None:
        place = _place(number, version)
        self._store.remove(f"{place}/{_STATE}")  # first, so that it is whole or does not count
        self._store.remove(*(f"{place}/{name}" for name in files if name != _STATE))

    # ------------------------------------------------------------ from the store

    def _fetched(self, number: int, version: Version) -> Path:
        """Return the folder that holds the checkpoint; FileNotFoundError or `_ChangedError` if it is changing."""
        place = _place(number, version)
        listed = self._store.read(f"{place}/{_LIST}")
        final = self._cache / place
        if (final / _LIST).exists() and (final / _LIST).read_bytes() == listed:
            return final
        final.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".fetch-", dir=final.parent, ignore_cleanup_errors=True) as name:
            draft = Path(name) / "checkpoint"
            draft.mkdir()
            for file, digest in json.loads(listed).items():
                (draft / file).parent.mkdir(parents=True, exist_ok=True)
                get_file(self._store, f"{place}/{file}", draft / file)
                if _digest(draft / file) != digest:
                    raise _ChangedError
            (draft / _LIST).write_bytes(listed)
            self._put_in_place(draft, final)
        for other in final.parent.iterdir():
            if other != final and not other.name.startswith("."):
                shutil.rmtree(other, ignore_errors=True)
        return final

    @staticmethod
    def _put_in_place(draft: Path, final: Path) -> None:
        try:
            draft.rename(final)
        except OSError:  # there is one: another process was faster, or it is of an earlier save of the step
            if (final / _LIST).exists() and (final / _LIST).read_bytes() == (draft / _LIST).read_bytes():
                return
            shutil.rmtree(final, ignore_errors=True)
            draft.rename(final)

    def _later(self, number: int, attempt: int) -> bool:
        return any(version[0] > attempt and _STATE in files for version, files in self._found(number).items())

    def _found(self, number: int) -> dict[Version, set[str]]:
        return self._listed(f"weights/{number}/").get(number, {})

    def _listed(self, prefix: str) -> dict[int, dict[Version, set[str]]]:
        """Return the names of the files there are, by trial and version."""
        listed: dict[int, dict[Version, set[str]]] = {}
        for key in self._store.keys(prefix):
            if match := _KEY.fullmatch(key):
                version = int(match[2]), int(match[3])
                listed.setdefault(int(match[1]), {}).setdefault(version, set()).add(match[4])
        return listed


class _ChangedError(Exception):
    """A file is not what the list of files says."""


def _place(number: int, version: Version) -> str:
    return f"weights/{number}/{version[0]}-{version[1]}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
