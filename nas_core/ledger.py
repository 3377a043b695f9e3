"""The record: append-only, hash-chained, signed objects in a store. `nas_core.chain` says what their bytes are."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from nas_core.chain import SEAL, START, Entry, Signer, Verifier, fingerprint, read_object, write_line, write_seal
from nas_core.errors import FencedError, InputError, IntegrityError
from nas_core.store import Store

__all__ = ["EMPTY", "Entry", "Head", "Ledger", "Signer", "Verification", "Verifier", "fingerprint", "verify"]

_FOLDER = "ledger/"
_OBJECT = re.compile(r"ledger/([0-9]{8}|[1-9][0-9]{8,})\.jsonl")


class Head(NamedTuple):
    """The newest line's number and hash."""

    seq: int
    hash: str


EMPTY = Head(-1, START)
"""The head of a ledger without entries."""


class Ledger:
    """The record in `store`: read by anyone, appended to by one writer at a time.

    Opening reads the newest object only, and appending writes one, however long the ledger is. With a `signer` every
    commit ends with a seal; a ledger is sealed by one key from its first commit to its last, or not at all. `clock`
    gives aware times.
    """

    def __init__(
        self, store: Store, signer: Signer | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock
        self._head = EMPTY
        self._sealed_by = fingerprint(signer.public_key) if signer else None
        for first, key in _objects(store)[-1:]:
            newest = read_object(store.read(key), first, None)[-1]
            self._head = Head(newest.seq, newest.hash)
            self._sealed_by = newest.data.get("key") if newest.kind == SEAL else None

    @property
    def head(self) -> Head:
        """The newest line as this writer knows it."""
        return self._head

    def append(self, kind: str, data: Mapping[str, Any]) -> Entry:
        """Commit one entry."""
        return self.commit([(kind, data)])[0]

    def commit(self, drafts: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Entry]:
        """Write `(kind, data)` pairs as one object, durable when this returns, and return their entries.

        FencedError if another writer was faster, InputError for another key than the ledger's, ValueError for what
        JSON cannot hold (NaN and infinity too). All or nothing: after an error the ledger is as it was.
        """
        if not drafts:
            return []
        self._check_key()
        time = self._clock().astimezone(UTC).isoformat(timespec="microseconds")
        first, (seq, prev) = self._head.seq + 1, self._head
        lines, entries = [], []
        for kind, data in drafts:
            if kind == SEAL:
                raise ValueError(f"kind: {SEAL!r} is the ledger's own, choose another")
            line, entry = write_line(seq + 1, prev, time, kind, data)
            lines.append(line)
            entries.append(entry)
            seq, prev = entry.seq, entry.hash
        if self._signer:
            line, seal = write_seal(self._signer, seq + 1, prev, time)
            lines.append(line)
            seq, prev = seal.seq, seal.hash
        try:
            self._store.create(_object(first), "".join(f"{line}\n" for line in lines).encode("ascii"))
        except FileExistsError as error:
            raise FencedError(
                f"ledger: another process has written entry {first}; one writer at a time, so this one has to stop"
            ) from error
        self._head = Head(seq, prev)
        return entries

    def entries(self, kinds: Collection[str] | None = None, after: Head = EMPTY) -> Iterator[Entry]:
        """Yield the entries, or those of `kinds`, in order, whoever wrote them; an object in memory at a time.

        Form and chain are checked (IntegrityError), signatures are not. Without `kinds` seals are among them.
        `after` is the last line of a commit: only what was written since is read, however long the ledger is.
        """
        found = _scan(self._store, None) if after == EMPTY else _follow(self._store, after)
        return (entry for entry in found if kinds is None or entry.kind in kinds)

    def _check_key(self) -> None:
        own = fingerprint(self._signer.public_key) if self._signer else None
        if own != self._sealed_by:
            raise InputError(
                f"ledger: sealed by {_name(self._sealed_by)}, but this process signs with {_name(own)}; "
                "use the key that the ledger began with"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What is in order: the number of lines, the newest one, and the fingerprint of the key that sealed them, if any.

    `head` is what to keep elsewhere: from the objects alone nobody can tell that the newest of them are missing.
    """

    entries: int
    head: Head
    key: str | None


def verify(store: Store, verifier: Verifier | None, trusted: str | None = None) -> Verification:
    """Check the whole ledger; IntegrityError names the first bad entry and says what is wrong with it.

    With a `verifier` every commit must be sealed, and all by one key: the one with the fingerprint `trusted`, or
    without it the first seal's, which shows only that one key sealed all. An entry whose bytes were changed is then
    named exactly; if all lines after it were chained anew, the first seal that does not fit is named.

    Without a `verifier` the chain alone is checked, which is for ledgers without seals: nothing vouches for the last
    line, and the one after a changed line may be named in its stead.
    """
    head, key = EMPTY, trusted
    for entry in _scan(store, verifier):
        if entry.kind == SEAL and verifier:
            key = key or entry.data["key"]
            if entry.data["key"] != key:
                found, expected = _name(entry.data["key"]), _name(key)
                raise IntegrityError(f"entry {entry.seq}: sealed by {found}, expected {expected}", entry.seq)
        head = Head(entry.seq, entry.hash)
    if head == EMPTY:
        raise IntegrityError("entry 0: missing, there is no ledger", 0)
    return Verification(entries=head.seq + 1, head=head, key=key if verifier else None)


def _object(first: int) -> str:
    return f"{_FOLDER}{first:08d}.jsonl"


def _objects(store: Store) -> list[tuple[int, str]]:
    """Return (first seq, key) of all objects in order; IntegrityError for one that has no business there."""
    found = []
    for key in store.keys(_FOLDER):
        match = _OBJECT.fullmatch(key)
        if not match:
            raise IntegrityError(f"{key}: not an object of the ledger; find out who put it there, and remove it")
        found.append((int(match[1]), key))
    return sorted(found)


def _scan(store: Store, verifier: Verifier | None) -> Iterator[Entry]:
    seq, prev = EMPTY.seq + 1, EMPTY.hash
    for first, key in _objects(store):
        if first != seq:
            what = "missing" if first > seq else "there already"
            raise IntegrityError(f"entry {min(seq, first)}: {what} where {key} begins", min(seq, first))
        entries = read_object(store.read(key), first, prev, verifier)
        yield from entries
        seq, prev = entries[-1].seq + 1, entries[-1].hash


def _follow(store: Store, head: Head) -> Iterator[Entry]:
    """Yield what follows `head`; its name says where the next object is, so nothing is listed."""
    seq, prev = head
    while True:
        try:
            data = store.read(_object(seq + 1))
        except FileNotFoundError:
            return
        entries = read_object(data, seq + 1, prev)
        yield from entries
        seq, prev = entries[-1].seq, entries[-1].hash


def _name(key: str | None) -> str:
    return f"key {key[:16]}" if key else "no key"
