"""The ledger's format, on bytes: lines, their chain, seals. Standard library only; signing is passed in.

A page of script can check it:

- The objects `ledger/NNNNNNNN.jsonl` in order of their numbers, one after another, are the ledger: ASCII text, a line
  per entry, each ended by a newline. A number is the `seq` of the object's first line, in at least 8 digits. An object
  is one commit.
- A line is a JSON object with the members `seq`, `prev`, `time`, `kind`, `data` in this order and no space between:
  `{"seq":0,"prev":"0000...","time":"2026-01-31T12:00:00.000000+00:00","kind":"outcome","data":{...}}`.
  `seq` counts lines from 0, `time` is the writer's UTC clock, `data` is a JSON object.
- The hash of an entry is the SHA-256, in hex, of its line without the newline. `prev` is the hash of the line before,
  64 zeros in the first.
- In a sealed ledger the last line of every object is a seal: its kind is `seal` and its data
  `{"key":"...","public_key":"...","signature":"..."}`. `public_key` is an Ed25519 key, 32 bytes in base64; `key` is its
  fingerprint, the SHA-256, in hex, of these bytes. `signature` is 64 bytes in base64, and signs the seal's line with
  the text `,"signature":"<88 characters>"` taken out, which leaves JSON that ends in `"}}`. As that JSON holds `prev`,
  a seal vouches for all lines before it. One key seals all of a ledger.

So a line that is changed, added, moved or missing is found, and nobody can chain it anew without the key. What cannot
be found from the objects alone: that the newest of them are missing, or that who holds the key wrote another history.
Keep the hash of the newest line elsewhere, and compare.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from nas_core.errors import IntegrityError

SEAL = "seal"
START = "0" * 64
"""What stands for the hash before the first line."""

_LINE = re.compile(
    r'\{"seq":(?P<seq>0|[1-9][0-9]*),"prev":"(?P<prev>[0-9a-f]{64})",'
    r'"time":"(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}\+00:00)",'
    r'"kind":"(?P<kind>[a-z][a-z0-9-]*)","data":(?P<data>\{.*\})\}'
)
_SIGNATURE = re.compile(r',"signature":"[A-Za-z0-9+/]{86}=="\}\}\Z')
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder()

Verifier = Callable[[bytes, bytes, bytes], bool]
"""Tells from (public key, message, signature) whether the Ed25519 signature is right."""


class Signer(Protocol):
    """An Ed25519 key."""

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        ...


class Entry(NamedTuple):
    """A line and its hash. `data` is as JSON gives it back: lists for tuples, text for keys."""

    seq: int
    prev: str
    time: str
    kind: str
    data: dict[str, Any]
    hash: str


def fingerprint(public_key: bytes) -> str:
    """Return the SHA-256 of the raw public key, in hex."""
    return hashlib.sha256(public_key).hexdigest()


# ---------------------------------------------------------------- writing


def write_line(seq: int, prev: str, time: str, kind: str, data: Mapping[str, Any]) -> tuple[str, Entry]:
    """Return the line, without newline, and the entry that a reader will see; ValueError for what JSON cannot hold."""
    try:
        body = _ENCODER.encode(dict(data))
        read = _decode(body)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{kind}: cannot be written as JSON ({error}); nothing was recorded") from error
    line = f'{{"seq":{seq},"prev":"{prev}","time":"{time}","kind":"{kind}","data":{body}}}'
    if not _LINE.fullmatch(line):
        raise ValueError(f"kind: must be lower-case letters, digits and '-', got {kind!r}")
    return line, Entry(seq, prev, time, kind, read, _hash(line))


def write_seal(signer: Signer, seq: int, prev: str, time: str) -> tuple[str, Entry]:
    """Return the line by which `signer` vouches for all lines up to the one with the hash `prev`, and its entry."""
    data = {"key": fingerprint(signer.public_key), "public_key": _base64(signer.public_key)}
    unsigned, _ = write_line(seq, prev, time, SEAL, data)
    return write_line(seq, prev, time, SEAL, {**data, "signature": _base64(signer.sign(unsigned.encode("ascii")))})


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode("ascii")).hexdigest()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# ---------------------------------------------------------------- reading


def read_object(data: bytes, first: int, prev: str | None, verifier: Verifier | None = None) -> list[Entry]:
    """Return the entries of an object that begins at `first`, after a line with the hash `prev` (None: not known).

    IntegrityError names the first bad entry. With a `verifier`, seals are checked and the last line has to be one.
    """
    *lines, rest = data.split(b"\n")
    if rest or not lines:
        raise _bad(first + len(lines), "cut off, no newline ends it")
    entries: list[Entry] = []
    sealed = verifier is not None  # the line before is a seal that was checked, so a break is not its fault
    for index, raw in enumerate(lines):
        entry, line = _parse(raw, first + index)
        is_seal = verifier is not None and entry.kind == SEAL
        if verifier and is_seal:
            _check_seal(entry, line, verifier)
        if prev is not None and entry.prev != prev:
            intact = is_seal or _holds_hash(lines[index + 1 :], entry)
            raise _bad(entry.seq - 1 if intact and not sealed else entry.seq, "changed after it was written")
        sealed, prev = is_seal, entry.hash
        entries.append(entry)
    if verifier and not sealed:
        raise _bad(entries[-1].seq, "not a seal, though it ends a commit")
    return entries


def is_torn(data: bytes, first: int, *, sealed: bool) -> bool:
    """Tell whether `data` is the beginning of an object that begins at `first`, and no more than that.

    Such is what a crash leaves of a commit where storage does not keep its promise of whole objects.
    """
    *lines, rest = data.split(b"\n")
    try:
        parsed = [_parse(raw, first + index) for index, raw in enumerate(lines)]
    except IntegrityError:
        return False
    ends_in_seal = bool(parsed) and (parsed[-1][0].kind == SEAL or _SIGNATURE.search(parsed[-1][1]) is not None)
    whole = not rest and bool(parsed) and (ends_in_seal or not sealed)
    return not whole and _begins_line(rest, first + len(lines))


def _begins_line(rest: bytes, seq: int) -> bool:
    """Tell whether `rest` may be the beginning of line `seq`, or all of it, with nothing after it."""
    start = b'{"seq":%d,"prev":"' % seq
    if not start.startswith(rest[: len(start)]):
        return False
    try:
        _, end = _DECODER.raw_decode(rest.decode("ascii"))
    except ValueError:
        return rest.isascii()
    return end == len(rest)


def _holds_hash(after: Sequence[bytes], entry: Entry) -> bool:
    """Tell whether the next line, if any, holds the hash of `entry`, so that `entry` is as it was written."""
    return any(line.startswith(b'{"seq":%d,"prev":"%s"' % (entry.seq + 1, entry.hash.encode())) for line in after[:1])


def _parse(raw: bytes, seq: int) -> tuple[Entry, str]:
    """Return the entry and its text; IntegrityError unless the bytes are what `write_line` makes of the entry."""
    try:
        line = raw.decode("ascii")
        match = _LINE.fullmatch(line)
        if not match:
            raise ValueError("other members")
        data = _decode(match["data"])
        found = int(match["seq"])
    except (ValueError, RecursionError) as error:
        raise _bad(seq, "no longer a line as entries are written") from error
    if found != seq:
        raise _bad(seq, f"missing, entry {found} is in its place")
    return Entry(seq, match["prev"], match["time"], match["kind"], data, _hash(line)), line


def _decode(body: str) -> dict[str, Any]:
    """Return the JSON object; ValueError unless `body` is its one spelling here (two equal keys have none)."""
    data: dict[str, Any]
    data, end = _DECODER.raw_decode(body)
    if end != len(body) or _ENCODER.encode(data) != body:
        raise ValueError("it would not be read as it was written")
    return data


def _check_seal(entry: Entry, line: str, verifier: Verifier) -> None:
    match = _SIGNATURE.search(line)
    public_key, signature = (_decoded(entry.data.get(name)) for name in ("public_key", "signature"))
    if not match or list(entry.data) != ["key", "public_key", "signature"] or not public_key or not signature:
        raise _bad(entry.seq, "not in the form of a seal")
    unsigned = line[: match.start()] + "}}"
    if fingerprint(public_key) != entry.data["key"] or not verifier(public_key, unsigned.encode("ascii"), signature):
        raise _bad(entry.seq, "a seal whose signature is not right; it, or a line before it and all since, was changed")


def _decoded(text: Any) -> bytes:
    """Return the bytes of base64 `text`, nothing unless it is their one usual spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        return b""
    return data if _base64(data) == text else b""


def _bad(seq: int, what: str) -> IntegrityError:
    return IntegrityError(f"entry {seq}: {what}", seq)
