"""Where heads of ledgers are kept besides, so that a ledger that was cut or written anew is found out.

The objects `<run id>/<ledger id>/<seq>.json` are created and never replaced; the ledger's id is the beginning of the
hash of its first line. Whoever may change the runs should not be able to change these: a bucket of its own, with Object
Lock, is best.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from components.backends.anchor_document import Anchor, read_anchor, write_anchor
from components.backends.anchoring import Anchoring
from components.backends.storage import open_s3, open_store
from nas_core.chain import Signer
from nas_core.errors import InputError, IntegrityError
from nas_core.ledger import Head
from nas_core.store import Store

if TYPE_CHECKING:
    from components.backends.s3_retained import Original

__all__ = ["Anchor", "Anchoring", "Anchors", "Checked", "anchored_ledgers", "anchors_uri", "check", "open_anchors"]

_VARIABLE = "EVERNAS_ANCHORS"
_LEDGER = re.compile(r"[0-9a-f]{16,64}")
_FILE = re.compile(r"([0-9]{8}|[1-9][0-9]{8,})\.json")
_READERS = 8


def anchors_uri() -> str:
    """Return where anchors are kept: $EVERNAS_ANCHORS, else `evernas/anchors` in the user's state folder."""
    if named := os.environ.get(_VARIABLE):
        return named
    state = Path(os.environ.get("XDG_STATE_HOME") or "")
    if not state.is_absolute():  # the XDG specification says to ignore a relative one
        try:
            state = Path.home() / ".local" / "state"
        except RuntimeError as error:
            raise InputError(
                f"{_VARIABLE}: not set, and this user has no home folder; set it to a folder or s3://bucket/prefix"
            ) from error
    return str(state / "evernas" / "anchors")


def open_anchors(run_id: str, ledger_id: str) -> Anchors:
    """Return the anchors of the ledger `ledger_id` of the run `run_id`, kept at `anchors_uri()`."""
    return Anchors(_anchor_store(), run_id, ledger_id)


def anchored_ledgers(run_id: str) -> Sequence[str]:
    """Return the ids of the ledgers that were anchored under the run, sorted; one, unless it was written anew."""
    return _ledgers(_anchor_store(), run_id)


class Anchors:
    """The anchors of one ledger. `ledger_id` is the hash of its first line, or 16 digits of it at least."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        ledger_id: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not _LEDGER.fullmatch(ledger_id):
            raise ValueError(f"ledger_id: must be 16 or more digits of a SHA-256, got {ledger_id!r}")
        self._store, self._run, self._ledger, self._clock = store, run_id, ledger_id[:16], clock

    def place(self, head: Head, signer: Signer) -> None:
        """Put `head` on record, signed; nothing happens if it is there, IntegrityError if another hash is."""
        time = self._clock().astimezone(UTC).isoformat(timespec="microseconds")
        key = f"{self._run}/{self._ledger}/{head.seq:08d}.json"
        try:
            self._store.create(key, write_anchor(self._run, self._ledger, head, time, signer))
        except FileExistsError:
            there = read_anchor(self._store.read(key), self._run, self._ledger, head.seq)
            if there.hash != head.hash:
                raise IntegrityError(
                    f"entry {head.seq}: anchored at {there.time} with another hash than the ledger has now", head.seq
                ) from None

    def all(self) -> list[Anchor]:
        """Return all anchors in the order of their numbers; IntegrityError if one is not as it was signed."""
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(lambda found: self._read(*found), self._found()))

    def newest(self) -> Anchor | None:
        """Return the anchor of the newest line, None if there is none."""
        found = self._found()
        return self._read(*found[-1]) if found else None

    def ledgers_of(self, run_id: str) -> Sequence[str]:
        """Return the ids of the ledgers that were anchored under the run, sorted."""
        return _ledgers(self._store, run_id)

    def check(self, entry_hash_at: Callable[[int], str | None], head: Head, key: str | None) -> Checked:
        """Compare the ledger with its anchors; see the function `check`."""
        others = [ledger for ledger in self.ledgers_of(self._run) if ledger != self._ledger]
        return check(self.all(), entry_hash_at, head, key, others)

    def _found(self) -> list[tuple[int, str, Original | None]]:
        """Return (number, key, oldest version if the store has versions), in the order of the numbers."""
        found = []
        for key, original in _listed(self._store, f"{self._run}/{self._ledger}/").items():
            match = _FILE.fullmatch(key.rpartition("/")[2])
            if not match or key.count("/") != 2:
                raise IntegrityError(f"anchor {key}: not an anchor's name; find out who put it there, and remove it")
            found.append((int(match[1]), key, original))
        return sorted(found, key=lambda one: one[0])

    def _read(self, seq: int, key: str, original: Original | None) -> Anchor:
        if original is not None and isinstance(self._store, Versioned):
            document = self._store.read_version(key, original.version)
            return read_anchor(document, self._run, self._ledger, seq, original.hidden)
        return read_anchor(self._store.read(key), self._run, self._ledger, seq)


@runtime_checkable
class Versioned(Protocol):
    """A store that remembers what was deleted or overwritten."""

    def originals(self, prefix: str) -> Mapping[str, Original]:
        """Return the oldest version of each object that there is or was under a key with `prefix`."""
        ...

    def read_version(self, key: str, version: str) -> bytes:
        """Return that version of the object; FileNotFoundError if there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found in order: the newest anchor and the number of them; those that somebody has tried to hide."""

    newest: Anchor | None
    count: int
    hidden: tuple[Anchor, ...]


def check(
    anchors: Sequence[Anchor],
    entry_hash_at: Callable[[int], str | None],
    head: Head,
    key: str | None,
    others: Collection[str] = (),
) -> Checked:
    """Compare a ledger with its `anchors`; IntegrityError names the first entry that is not what was anchored.

    `entry_hash_at` gives the hash of a line, None if there is none; `head` is the newest line, `key` the fingerprint of
    the key that sealed the ledger (None: it has no seals). `others` are ids of other ledgers that were anchored under
    the run's name, which runs in other folders may have as well; if this one was not, it was written in their place.
    """
    if others and not anchors:
        raise IntegrityError(
            f"entry 0: the ledger was written anew, another ({', '.join(others)}) was anchored under the run's name "
            "and this one was not; find the other one",
            0,
        )
    for anchor in sorted(anchors):
        if key is not None and anchor.key != key:
            raise IntegrityError(
                f"entry {anchor.seq}: anchored at {anchor.time} by key {anchor.key[:16]}, but sealed by {key[:16]}",
                anchor.seq,
            )
        if anchor.seq > head.seq:
            missing = head.seq + 1
            raise IntegrityError(
                f"entry {missing}: missing, though entries up to {anchors[-1].seq} were anchored by {anchors[-1].time}",
                missing,
            )
        if entry_hash_at(anchor.seq) != anchor.hash:
            raise IntegrityError(
                f"entry {anchor.seq}: not what was anchored at {anchor.time}; it or a line before was written anew",
                anchor.seq,
            )
    return Checked(
        newest=max(anchors, default=None),
        count=len(anchors),
        hidden=tuple(anchor for anchor in anchors if anchor.hidden),
    )


def _anchor_store() -> Store:
    uri = anchors_uri()
    return open_s3(uri, retained=True) if uri.startswith("s3://") else open_store(uri)


def _listed(store: Store, prefix: str) -> Mapping[str, Original | None]:
    return dict(store.originals(prefix)) if isinstance(store, Versioned) else dict.fromkeys(store.keys(prefix))


def _ledgers(store: Store, run_id: str) -> Sequence[str]:
    return sorted({key.split("/")[1] for key in _listed(store, f"{run_id}/")})
