"""Where all runs are kept: a folder, or a store such as S3 together with a working folder on this machine.

`s3://bucket/prefix` is worked on in `<cache>/<its name and the beginning of a digest of it>`, where <cache> is
$EVERNAS_CACHE, else `evernas` in $XDG_CACHE_HOME or ~/.cache. Nothing there counts: it may be deleted between two
commands, and is fetched again. Its file `.remote` names the store, so that whoever is given the folder works on the
store that it belongs to.

<root>/<id>/run.json             what was asked for, created once
<root>/<id>/ledger/              the record
<root>/<id>/files/<sha256>/      every file that a stage has left, under its own name; never written over
<root>/<id>/search/weights/      checkpoints of trials while the search runs
<root>/champions/<name>/         see `components.promotions`
<root>/latest                    the name of the newest cycle
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from components.backends.storage import open_store
from components.below import Below
from nas_core.errors import InputError
from nas_core.store import FolderStore, Store

_MARK, _LATEST, _GIVEN = ".remote", "latest", "run.json"
_VARIABLE = "EVERNAS_CACHE"


@dataclass(frozen=True)
class Root:
    """The root `uri`. `folder` is what all files are read from and written to; if `remote`, it is a working folder."""

    uri: str
    folder: Path
    remote: bool = False

    @classmethod
    def open(cls, place: str | Path | Root) -> Root:
        """Return the root at `place`: a folder's path, a `file://` address of one, or `s3://bucket/prefix`.

        Nothing is connected or made yet. InputError for another kind of address, and for S3 where boto3 is missing.
        """
        if isinstance(place, Root):
            return place
        uri = str(place)
        if re.match(r"s3:/[^/]", uri):
            raise InputError(f"root: {uri!r} was taken for a path; give s3:// with two slashes")
        if "://" not in uri:
            return cls._at(uri, Path(place))
        store = open_store(uri)
        if isinstance(store, FolderStore):
            return cls._at(str(store.root), store.root)
        uri = uri.rstrip("/")
        return cls(uri, _cache() / _name_of(uri), remote=True)

    @classmethod
    def _at(cls, uri: str, folder: Path) -> Root:
        """Return the root whose files are in `folder`: that folder, unless it is the working folder of another."""
        try:
            return cls((folder / _MARK).read_text(encoding="utf-8").strip(), folder, remote=True)
        except (FileNotFoundError, NotADirectoryError):
            return cls(uri, folder)

    def store(self, place: str = "") -> Store:
        """Return the store of what lies below `place`, names joined by `/`, or of all; they share their connections."""
        if not self.remote:
            return open_store(f"{self.uri}/{place}" if place else self.uri)
        return Below(self._whole, f"{place}/") if place else self._whole

    @cached_property
    def _whole(self) -> Store:
        return open_store(self.uri)

    def prepare(self) -> None:
        """Make the working folder of a remote root, if it is not there yet."""
        if self.remote:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / _MARK
            if not path.exists():
                draft = path.with_name(f"{_MARK}-{os.getpid()}")
                draft.write_text(f"{self.uri}\n", encoding="utf-8")
                draft.replace(path)

    def point(self, run_id: str) -> None:
        """Make `run_id` the latest run."""
        if self.remote:
            self.store().replace(_LATEST, f"{run_id}\n".encode())
        point(self.folder / _LATEST, run_id)

    def latest(self) -> str | None:
        """Return the id of the latest run, None if there is none. In a folder that is what the link points to."""
        if not self.remote:
            link = self.folder / _LATEST
            return link.resolve().name if link.exists() else None
        try:
            return self.store().read(_LATEST).decode().strip()
        except FileNotFoundError:
            return None

    def runs(self) -> Sequence[str]:
        """Return the ids of all runs, sorted."""
        if self.remote:
            names = (key.split("/") for key in self.store().keys(""))
            return sorted(name[0] for name in names if name[1:] == [_GIVEN])
        return sorted(path.parent.name for path in self.folder.glob(f"*/{_GIVEN}") if not path.parent.is_symlink())

    @property
    def listing(self) -> str:
        """The command that shows which runs there are."""
        return f"evernas list runs --root {self.uri}" if self.remote else f"ls {self.folder}"


def point(link: Path, target: str) -> None:
    """Make `link` point to `target` in one step; a name that is taken by something else is left alone."""
    fresh = link.with_name(f".{link.name}-{os.getpid()}")
    if link.is_symlink() or not link.exists():
        fresh.symlink_to(target)
        fresh.replace(link)


def _cache() -> Path:
    """Return the folder of working folders; the XDG specification says to ignore a relative $XDG_CACHE_HOME."""
    if named := os.environ.get(_VARIABLE):
        return Path(named).absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if base.is_absolute():
        return base / "evernas"
    try:
        return Path.home() / ".cache" / "evernas"
    except RuntimeError as error:
        raise InputError(f"{_VARIABLE}: not set, and this user has no home folder; set it to a folder") from error


def _name_of(uri: str) -> str:
    """Return a folder's name for `uri` that people can read and no other address has."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", uri.partition("://")[2])[:80]
    return f"{readable}-{hashlib.sha256(uri.encode()).hexdigest()[:8]}"
