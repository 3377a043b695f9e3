"""The files of a run between a working folder and its store.

A file is the object `files/<its SHA-256>/<its name>`: sending it again changes nothing, and a process that was given up
for dead, but still sends, cannot write over what is on record. The ledger says which file of which stage that is.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from components.backends.storage import get_file, put_file
from nas_core.errors import IntegrityError, OutsideError
from nas_core.ledger import Entry
from nas_core.store import Store, make_folder

_LEDGER = "ledger/"
_AT_ONCE = 8
_TRIES = 5
_PUBLISHED = "published"
"""The kind of the entry that speaks of a report's files."""

Files = Mapping[str, str]
"""The SHA-256 of each file by its path in the run's folder."""


class Transfer:
    """Sends files from `folder` to `store`, and fetches them."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder

    def send(self, recorded: Files) -> None:
        """Store the files, all of them, or raise OutsideError."""
        _each(lambda name: put_file(self._store, _key(name, recorded[name]), self._folder / name), recorded)

    def fetch(self, recorded: Files) -> None:
        """Fetch what the folder lacks, or has with other bytes; IntegrityError if the store has them no more.

        What lies beside them in the same stage's folder, and is no engine's scratch, is of nobody, and goes.
        """
        for stage in {name.partition("/")[0] for name in recorded if "/" in name}:
            for name in files(self._folder / stage):
                if f"{stage}/{name}" not in recorded:
                    (self._folder / stage / name).unlink()
        _each(lambda name: self._fetch(name, recorded[name]), recorded)

    def restore(self, recorded: Files) -> None:
        """Make the files in the folder what they are in the store now, good or bad, for those who look for changes."""
        _each(lambda name: self._get(name, recorded[name]), recorded)

    def mirror_ledger(self) -> None:
        """Make the ledger in the folder what it is in the store now."""
        final = self._folder / "ledger"
        make_folder(self._folder)
        for _ in range(_TRIES):
            with TemporaryDirectory(prefix=".ledger-", dir=self._folder) as name, suppress(FileNotFoundError):
                self._copy_ledger(Path(name))  # an object that has gone was merged since it was listed
                shutil.rmtree(final, ignore_errors=True)
                (Path(name) / "ledger").rename(final)
                return
        raise OutsideError("storage: the ledger changes faster than it can be read; try again")

    def _copy_ledger(self, to: Path) -> None:
        (to / "ledger").mkdir()
        _each(lambda key: _write(to / key, self._store.read(key)), self._store.keys(_LEDGER))

    def _fetch(self, name: str, digest: str) -> None:
        path = self._folder / name
        if path.is_file() and _digest(path) == digest:
            return
        if not self._get(name, digest):
            raise IntegrityError(f"{name}: is on record, but no more in the storage ({_key(name, digest)}); restore it")
        if _digest(path) != digest:
            path.unlink()
            raise IntegrityError(f"{name}: the storage holds other bytes than were recorded ({_key(name, digest)})")

    def _get(self, name: str, digest: str) -> bool:
        """Write the object to its place; False, and nothing is in that place, if there is none."""
        path = self._folder / name
        make_folder(path.parent)
        try:
            get_file(self._store, _key(name, digest), path)
        except FileNotFoundError:
            path.unlink(missing_ok=True)
            return False
        return True


def recorded(entries: Iterable[Entry], stages: Iterable[str] | None = None) -> dict[str, str]:
    """Return the files that `entries` speak of: those of `stages`, or of all, and then of the report too.

    A stage that was done again is known by its newest entry.
    """
    found: dict[str, Files] = {}
    for entry in entries:
        if entry.kind == "stage":
            stage = entry.data["stage"]
            found[stage] = {f"{stage}/{name}": digest for name, digest in entry.data["files"].items()}
        elif entry.kind == _PUBLISHED:
            found[""] = entry.data["files"]
    wanted = found if stages is None else [stage for stage in stages if stage in found]
    return {name: digest for stage in wanted for name, digest in found[stage].items()}


def readable(entries: Iterator[Entry]) -> Iterator[Entry]:
    """Yield the entries up to the first that is not in order."""
    try:
        yield from entries
    except IntegrityError:
        return


def files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder` by its relative path, engines' scratch folders left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith((".", "_")) for part in parts):
            found["/".join(parts)] = _digest(path)
    return found


def _each(work: Callable[[str], object], names: Iterable[str]) -> None:
    """Do `work` for all names, several at a time; the first error is raised when those that were begun have ended."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        waiting = [pool.submit(work, name) for name in names]
        try:
            for future in waiting:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _key(name: str, digest: str) -> str:
    return f"files/{digest}/{name.rpartition('/')[2]}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
