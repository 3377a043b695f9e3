"""A run's record as a folder that can be checked without evernas, on any machine with Python and openssl."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.audit.record import read_record
from components.audit.verify import verify_folder
from components.backends.anchors import anchors_uri
from components.backends.storage import open_store
from nas_core import segments
from nas_core.chain import SEAL, write_line
from nas_core.errors import InputError, OutsideError
from nas_core.store import Store, create_file, make_folder

HELD = (
    "spec.yaml",
    "report.html",
    "summary.json",
    "data_prep/profile.json",
    "fairness/fairness.json",
    "deploy/bundle/model-card.md",
    "deploy/bundle/provenance.json",
)
"""The run's files that an export holds, those that are on record."""

_SCRIPT = Path(__file__).with_name("standalone.py")
_ED25519 = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410, section 4)."""


def export(folder: Path, out: Path, key: str | None = None, *, anchors: Store | None = None) -> dict[str, Any]:
    """Write the record of the run in `folder` to the new folder `out`, and return what was found when it was checked.

    It holds the ledger's entries, its anchors, the public key, the spec, the files of `HELD`, `manifest.json` with the
    SHA-256 of each of them, `verify.py`, and a README. The same record gives the same bytes. `key` and `anchors`
    as for `verify_folder`, which has to find all in order first. InputError if `out` is there and not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"-o: {out} is there and not empty; name a folder that is not")
    found = verify_folder(folder, key, anchors=anchors)
    contents = _contents(folder, found, open_store(anchors_uri()) if anchors is None else anchors)
    temporary = out.absolute().with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        make_folder(temporary)
        for name, data in contents.items():
            create_file(temporary / name, data)
        temporary.rename(out)
    except OSError as error:
        raise OutsideError(f"-o: cannot write {out} ({error.strerror}); check its space and permissions") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return found


def _contents(folder: Path, found: Mapping[str, Any], anchors: Store) -> dict[str, bytes]:
    """Return the files of the export by their paths."""
    store = open_store(str(folder))
    record = read_record(store)
    if not record.cycle:
        raise InputError(f"{folder}: its ledger has no entry `cycle`, so this is no run's; there is nothing to export")
    place = f"{record.cycle['run']}/{record.hashes[0][:16]}/"
    made = {"spec.yaml": record.cycle["spec"].encode()}
    made |= {name: (folder / name).read_bytes() for name in HELD if name in record.files}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in made.items()}
    made["manifest.json"] = json.dumps(digests, indent=1, sort_keys=True).encode() + b"\n"
    entries = list(segments.scan(store))
    made["ledger.jsonl"] = b"".join(write_line(*entry[:-1])[0].encode() + b"\n" for entry in entries)
    made["heads.jsonl"] = b"".join(anchors.read(key) + b"\n" for key in sorted(anchors.keys(place)))
    made["public-key.pem"] = _pem(next(entry for entry in entries if entry.kind == SEAL).data["public_key"])
    made["verify.py"] = _SCRIPT.read_bytes()
    made["README.md"] = _readme(record.cycle["run"], found, made).encode()
    return made


def _pem(public_key: str) -> bytes:
    """Return the raw public key, in base64, as PEM."""
    encoded = base64.b64encode(_ED25519 + base64.b64decode(public_key)).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{encoded}\n-----END PUBLIC KEY-----\n".encode()


def _readme(run: str, found: Mapping[str, Any], made: Mapping[str, bytes]) -> str:
    held = "\n".join(f"- `{name}`" for name in HELD if name in made)
    anchors = made["heads.jsonl"].count(b"\n")
    return f"""# The record of the run {run}

{found["entries"]} entries, the last with the hash

    {found["head"]}

sealed by the Ed25519 key with the fingerprint

    {found["key"]}

Compare both with what you were told by another way than this folder: whoever can replace all of it could have signed
another history with another key. It can be checked with Python and openssl (3.0 or later); evernas is not needed.

## What is here

- `ledger.jsonl`: the entries, a JSON object a line. Each has the SHA-256 of the line before in `prev`; a `seal`, which
  ends a commit, is a signature of all lines up to it.
- `heads.jsonl`: {anchors} signed statements, from where they were kept, that the ledger had come so far at a time.
- `public-key.pem`: the key. `verify.py`: the check. `manifest.json`: the SHA-256 of the run's files that are here;
  those of the others are in the ledger's entries `stage`.
{held}

## Check it all

```sh
python3 -I verify.py {found["key"]} {found["head"]}
```

It ends with 0 and `in order`, or with 1 and the first thing that is not. The arguments may be left out; each is looked
for among the key's fingerprint and the entries' hashes.

## Check one seal by hand

The last line of `ledger.jsonl` is a seal. What it signs is its own line without the member `signature`.

```sh
line=$(tail -n 1 ledger.jsonl)
printf '%s' "$line" | sed 's/,"signature":"[^"]*"//' > message
printf '%s' "$line" | sed 's/.*"signature":"\\([^"]*\\)".*/\\1/' | base64 -d > signature
openssl pkeyutl -verify -rawin -pubin -inkey public-key.pem -in message -sigfile signature
```

## Check one link of the chain by hand

The first is the hash of the line before the last one, the second what the last one says of it.

```sh
tail -n 2 ledger.jsonl | head -n 1 | tr -d '\\n' | sha256sum
tail -n 1 ledger.jsonl | sed 's/.*"prev":"\\([0-9a-f]*\\)".*/\\1/'
```

## The fingerprint of the key

```sh
openssl pkey -pubin -in public-key.pem -outform DER | tail -c 32 | sha256sum
```
"""
