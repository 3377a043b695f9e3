"""The ledger's objects in a store, read as one sequence of entries: single commits, and merged ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from nas_core.chain import SEAL, START, Entry, Verifier, is_torn, read_object
from nas_core.errors import IntegrityError
from nas_core.store import Store

_FOLDER = "ledger/"
_COMPACTED = "ledger/compacted/"
_NUMBER = "(?:[0-9]{8}|[1-9][0-9]{8,})"
_SINGLE = re.compile(rf"ledger/({_NUMBER})\.jsonl")
_MERGED = re.compile(rf"ledger/compacted/({_NUMBER})-({_NUMBER})\.jsonl")
_MOST_BYTES = 8 * 1024**2


class Head(NamedTuple):
    """The newest line's number and hash."""

    seq: int
    hash: str


EMPTY = Head(-1, START)
"""The head of a ledger without entries."""


class Segment(NamedTuple):
    """An object: the number of its first line, of its last if its name tells, and its key."""

    first: int
    last: int | None
    key: str

    def covers(self, seq: int) -> bool:
        """Tell whether the name says that line `seq` is in it."""
        return self.last is not None and self.first <= seq <= self.last


def object_key(first: int) -> str:
    """Return the key of the commit whose first line is `first`."""
    return f"{_FOLDER}{first:08d}.jsonl"


def compacted(store: Store) -> list[Segment]:
    """Return the merged objects by their first lines, the longer before the shorter."""
    return sorted((_segment(key) for key in store.keys(_COMPACTED)), key=lambda s: (s.first, -(s.last or 0)))


def newest(store: Store) -> tuple[Entry | None, str | None]:
    """Return the newest entry, None if there is none, and the key of a torn object after it, if there is one.

    Only the newest objects are read. IntegrityError if the newest is neither in order nor torn.
    """
    found, _ = _split(store)
    if not found:
        return None, None
    last = found[-1]
    data = store.read(last.key)
    before: Entry | None = None
    if last.last is None and is_torn(data, last.first, sealed=True):  # unless the ledger has no seals
        before = _last_entry(store, found[-2]) if len(found) > 1 else None
        if is_torn(data, last.first, sealed=before is not None and before.kind == SEAL):
            return before, last.key
    return read_object(data, last.first, None)[-1], None


def scan(store: Store, verifier: Verifier | None = None, after: Head = EMPTY) -> Iterator[Entry]:
    """Yield the entries that follow `after`, an object in memory at a time; IntegrityError names the first bad one.

    A torn newest object counts as absent. Commits may be added and merged meanwhile.
    """
    seq, prev = after.seq + 1, after.hash
    found, position, gone, sealed = _from(store, seq), 0, None, False
    while position < len(found):
        segment = found[position]
        try:
            data = store.read(segment.key)
        except FileNotFoundError:
            if gone == seq:
                raise _bad(seq, "missing, its object has gone") from None
            found, position, gone = _from(store, seq), 0, seq  # merged since it was listed
            continue
        if segment.first > seq or (segment.first < seq and not segment.covers(seq)):
            what = "missing" if segment.first > seq else "there already"
            raise _bad(min(seq, segment.first), f"{what} where {segment.key} begins")
        if position == len(found) - 1 and segment.last is None and is_torn(data, segment.first, sealed=sealed):
            return
        entries = read_object(data, segment.first, prev if segment.first == seq else None, verifier)
        if segment.last is not None and entries[-1].seq != segment.last:
            raise _bad(entries[-1].seq + 1, f"missing at the end of {segment.key}")
        if segment.first < seq and entries[seq - segment.first - 1].hash != prev:
            raise _bad(seq - 1, "changed after it was written")
        yield from entries[seq - segment.first :]
        seq, prev, sealed = entries[-1].seq + 1, entries[-1].hash, entries[-1].kind == SEAL
        position += 1


def follow(store: Store, head: Head) -> Iterator[Entry]:
    """Yield what follows `head`, the last line of a commit.

    The name of the next object is known, so nothing is listed while single commits come.
    """
    seq, prev = head
    while True:
        first = seq + 1
        try:
            data = store.read(object_key(first))
        except FileNotFoundError:
            if any(segment.covers(first) for segment in compacted(store)):
                yield from scan(store, after=Head(seq, prev))
            return
        if is_torn(data, first, sealed=False):
            return
        entries = read_object(data, first, prev)
        yield from entries
        seq, prev = entries[-1].seq, entries[-1].hash


def compact(store: Store) -> None:
    """Merge single commits, all but the newest; remove what is merged, and what an interrupted merger left behind."""
    found, remnants = _split(store)
    for segment in remnants:
        check_remnant(store, segment)
    store.remove(*(segment.key for segment in remnants))
    group: list[Segment] = []
    parts: list[bytes] = []
    size = 0
    for segment in [segment for segment in found if segment.last is None][:-1]:
        data = store.read(segment.key)
        if group and size + len(data) > _MOST_BYTES:
            _merge(store, group, b"".join(parts))
            group, parts, size = [], [], 0
        group.append(segment)
        parts.append(data)
        size += len(data)
    if len(group) > 1:
        _merge(store, group, b"".join(parts))


def check_remnants(store: Store) -> None:
    """Raise IntegrityError for an object beside a merged one that holds other lines under the same numbers."""
    for segment in _split(store)[1]:
        check_remnant(store, segment)


def check_remnant(store: Store, segment: Segment) -> None:
    """Raise IntegrityError unless the lines of `segment` are in the merged object that took its place."""
    whole = next(s for s in _split(store)[0] if s.covers(segment.first))
    lines = store.read(whole.key).split(b"\n")[segment.first - whole.first :]
    own = store.read(segment.key).split(b"\n")[:-1]
    if lines[: len(own)] != own or not own:
        raise _bad(segment.first, f"there twice, {segment.key} is not what {whole.key} holds")


def _merge(store: Store, group: list[Segment], data: bytes) -> None:
    entries = read_object(data, group[0].first, None)
    key = f"{_COMPACTED}{group[0].first:08d}-{entries[-1].seq:08d}.jsonl"
    try:
        store.create(key, data)
    except FileExistsError:
        if store.read(key) != data:
            raise _bad(group[0].first, f"there twice, {key} holds something else") from None
    store.remove(*(segment.key for segment in group))


def _split(store: Store) -> tuple[list[Segment], list[Segment]]:
    """Return the objects that make up the ledger, in order, and those that a merged one has made superfluous."""
    listed = [_segment(key) for key in store.keys(_FOLDER)]
    merged: list[Segment] = []
    remnants: list[Segment] = []
    end = -1
    for segment in sorted((s for s in listed if s.last is not None), key=lambda s: (s.first, -(s.last or 0))):
        (remnants if (segment.last or 0) <= end else merged).append(segment)
        end = max(end, segment.last or 0)
    singles = [segment for segment in listed if segment.last is None]
    inside = {s for s in singles if s.first <= end and any(whole.covers(s.first) for whole in merged)}
    found = [*merged, *(segment for segment in singles if segment not in inside)]
    remnants += inside
    return sorted(found, key=lambda segment: segment.first), remnants


def _from(store: Store, seq: int) -> list[Segment]:
    """Return the objects from the one on that has line `seq`, or should."""
    found, _ = _split(store)
    begin = max((index for index, segment in enumerate(found) if segment.covers(seq)), default=None)
    return found[begin:] if begin is not None else [segment for segment in found if segment.first >= seq or seq == 0]


def _last_entry(store: Store, segment: Segment) -> Entry:
    return read_object(store.read(segment.key), segment.first, None)[-1]


def _segment(key: str) -> Segment:
    if match := _SINGLE.fullmatch(key):
        return Segment(int(match[1]), None, key)
    if match := _MERGED.fullmatch(key):
        return Segment(int(match[1]), int(match[2]), key)
    raise IntegrityError(f"{key}: not an object of the ledger; find out who put it there, and remove it")


def _bad(seq: int, what: str) -> IntegrityError:
    return IntegrityError(f"entry {seq}: {what}", seq)
