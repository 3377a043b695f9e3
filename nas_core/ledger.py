"""The record: append-only, hash-chained, signed objects in a store. `nas_core.chain` says what their bytes are.

A commit is an object `ledger/<first>.jsonl`. When a stage ends, commits are merged into objects
`ledger/compacted/<first>-<last>.jsonl`, the same bytes one after another. `nas_core.segments` reads both as one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nas_core import segments
from nas_core.chain import SEAL, Entry, Signer, Verifier, fingerprint, write_line, write_seal
from nas_core.errors import FencedError, InputError, IntegrityError
from nas_core.segments import EMPTY, Head
from nas_core.store import Store

__all__ = ["EMPTY", "Entry", "Head", "Ledger", "Signer", "Verification", "Verifier", "fingerprint", "verify"]


class Ledger:
    """The record in `store`: read by anyone, appended to by one writer at a time.

    Opening reads the newest object only, and appending writes one, however long the ledger is. With a `signer` every
    commit ends with a seal; a ledger is sealed by one key from its first commit to its last, or not at all. `clock`
    gives aware times. `on_commit` is told the new head after each commit.

    `anchored` is the number of the newest line that is known elsewhere: IntegrityError if the ledger does not reach so
    far. A newest object that is torn, and that nobody knows elsewhere, is what a crash left of a commit that was never
    believed: it counts as absent, and the next commit sets it aside and says so in an entry `recovered`.
    """

    def __init__(
        self,
        store: Store,
        signer: Signer | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        anchored: int = EMPTY.seq,
        on_commit: Callable[[Head], None] | None = None,
    ) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock
        self._on_commit = on_commit
        newest, self._torn = segments.newest(store)
        self._head = Head(newest.seq, newest.hash) if newest else EMPTY
        self._sealed_by = fingerprint(signer.public_key) if signer else None
        if newest:
            self._sealed_by = newest.data.get("key") if newest.kind == SEAL else None
        if self._head.seq < anchored:
            missing = self._head.seq + 1
            raise IntegrityError(f"entry {missing}: missing, though entries up to {anchored} were anchored", missing)

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
        recovered = self._recovered()
        drafts = [*recovered, *drafts]
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
        self._write(first, "".join(f"{line}\n" for line in lines).encode("ascii"))
        self._head = Head(seq, prev)
        if self._on_commit:
            self._on_commit(self._head)
        return entries[len(recovered) :]

    def compact(self) -> None:
        """Merge the commits since the last time, all but the newest, into few objects; readers may go on meanwhile.

        The newest stays, so that opening remains quick. IntegrityError, and nothing merged, if what is there is not in
        order.
        """
        segments.compact(self._store)

    def entries(self, kinds: Collection[str] | None = None, after: Head = EMPTY) -> Iterator[Entry]:
        """Yield the entries, or those of `kinds`, in order, whoever wrote them; an object in memory at a time.

        Form and chain are checked (IntegrityError), signatures are not. Without `kinds` seals are among them.
        `after` is the last line of a commit: only what was written since is read, however long the ledger is.
        """
        found = segments.scan(self._store) if after == EMPTY else segments.follow(self._store, after)
        return (entry for entry in found if kinds is None or entry.kind in kinds)

    def _write(self, first: int, data: bytes) -> None:
        """Create the commit's object; FencedError if another writer has got there first."""
        fenced = FencedError(
            f"ledger: another process has written entry {first}; one writer at a time, so this one has to stop"
        )
        key = segments.object_key(first)
        try:
            self._store.create(key, data)
        except FileExistsError as error:
            raise fenced from error
        # What another writer wrote under this name may be merged by now, so that the name was free again.
        if any(found.covers(first) for found in segments.compacted(self._store)):
            self._store.remove(key)
            raise fenced

    def _recovered(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Set a torn newest object aside, and return what is to be said of it."""
        if self._torn is None:
            return []
        data = self._store.read(self._torn)
        aside = f"torn/{self._torn.rpartition('/')[2]}"
        self._store.replace(aside, data)
        self._store.remove(self._torn)
        told = {"object": self._torn, "aside": aside, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self._torn = None
        return [("recovered", told)]

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
    `torn` is the object after the last line of which there is a beginning only, if there is one: what a crash leaves,
    or what remains of an object that was cut. Only an anchor can tell which.
    """

    entries: int
    head: Head
    key: str | None
    torn: str | None = None


def verify(store: Store, verifier: Verifier | None, trusted: str | None = None) -> Verification:
    """Check the whole ledger; IntegrityError names the first bad entry and says what is wrong with it.

    With a `verifier` every commit must be sealed, and all by one key: the one with the fingerprint `trusted`, or
    without it the first seal's, which shows only that one key sealed all. An entry whose bytes were changed is then
    named exactly; if all lines after it were chained anew, the first seal that does not fit is named.

    Without a `verifier` the chain alone is checked, which is for ledgers without seals: nothing vouches for the last
    line, and the one after a changed line may be named in its stead.
    """
    head, key = EMPTY, trusted
    for entry in segments.scan(store, verifier):
        if entry.kind == SEAL and verifier:
            key = key or entry.data["key"]
            if entry.data["key"] != key:
                found, expected = _name(entry.data["key"]), _name(key)
                raise IntegrityError(f"entry {entry.seq}: sealed by {found}, expected {expected}", entry.seq)
        head = Head(entry.seq, entry.hash)
    if head == EMPTY:
        raise IntegrityError("entry 0: missing, there is no ledger", 0)
    segments.check_remnants(store)
    _, torn = segments.newest(store)
    return Verification(entries=head.seq + 1, head=head, key=key if verifier else None, torn=torn)


def _name(key: str | None) -> str:
    return f"key {key[:16]}" if key else "no key"
