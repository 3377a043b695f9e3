"""An anchor: a signed statement that a ledger had a certain newest line at a certain time, as a JSON document."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

from components.backends.signing import verify_signature
from nas_core.chain import Signer, fingerprint
from nas_core.errors import IntegrityError
from nas_core.ledger import Head

_MEMBERS = ["hash", "key", "ledger", "public_key", "run", "seq", "signature", "time"]


class Anchor(NamedTuple):
    """The line `seq` had the hash `hash` at `time`, says the key with the fingerprint `key`.

    `hidden` tells that the anchor was `deleted` or `overwritten` since, in a bucket that keeps versions.
    """

    seq: int
    hash: str
    time: str
    key: str
    hidden: str = ""


def write_anchor(run: str, ledger: str, head: Head, time: str, signer: Signer) -> bytes:
    """Return the document: ASCII JSON, members sorted, no space between.

    `signature` is the Ed25519 signature, in base64, of the same JSON without that member.
    """
    data = {
        "run": run,
        "ledger": ledger,
        "seq": head.seq,
        "hash": head.hash,
        "time": time,
        "key": fingerprint(signer.public_key),
        "public_key": base64.b64encode(signer.public_key).decode("ascii"),
    }
    return _canonical({**data, "signature": base64.b64encode(signer.sign(_canonical(data))).decode("ascii")})


def read_anchor(document: bytes, run: str, ledger: str, seq: int, hidden: str = "") -> Anchor:
    """Return what the document says; IntegrityError unless it is one for this line, signed as it says."""
    place = f"{run}/{ledger}/{seq:08d}.json"
    try:
        data = json.loads(document)
        whole = sorted(data) == _MEMBERS and _canonical(data) == document
        if whole:
            public_key = base64.b64decode(data["public_key"], validate=True)
            signature = base64.b64decode(data.pop("signature"), validate=True)
    except (ValueError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise IntegrityError(f"anchor {place}: not in the form of an anchor; find out who changed it", seq)
    signed = verify_signature(public_key, _canonical(data), signature)
    if not signed or fingerprint(public_key) != data["key"]:
        raise IntegrityError(f"anchor {place}: its signature is not right; find out who changed it", seq)
    if (data["run"], data["ledger"], data["seq"]) != (run, ledger, seq):
        raise IntegrityError(f"anchor {place}: belongs to {data['run']}/{data['ledger']}, entry {data['seq']}", seq)
    return Anchor(seq, data["hash"], data["time"], data["key"], hidden)


def _canonical(data: dict[str, Any]) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
