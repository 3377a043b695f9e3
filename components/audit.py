"""Whether a run's record, and the files that it speaks of, are as they were written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from components.backends.signing import key_path, load_signer, verify_signature
from components.backends.storage import open_store
from nas_core.errors import InputError, IntegrityError, OutsideError
from nas_core.ledger import Ledger, verify


def verify_folder(folder: Path, key: str | None = None) -> dict[str, Any]:
    """Check the run in `folder` and return what was found in order.

    `key` is the fingerprint of the only key that may have sealed the ledger. IntegrityError names the first bad entry,
    or the first file that is missing or differs from its recorded digest, and the entry that recorded it. A stage that
    was done again is judged by its newest entry; files that no entry speaks of are nobody's concern.
    """
    store = open_store(str(folder))
    found = verify(store, verify_signature, key)
    newest = {entry.data["stage"]: entry for entry in Ledger(store).entries({"stage"})}
    recorded = [
        (folder / stage / name, digest, entry.seq)
        for stage, entry in newest.items()
        for name, digest in entry.data["files"].items()
    ]
    for path, digest, seq in recorded:
        if not path.is_file():
            raise IntegrityError(f"{path}: missing, though entry {seq} recorded it", seq)
        try:
            with path.open("rb") as file:
                found_digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise OutsideError(
                f"{path}: cannot be read ({error.strerror}); verify it as the user who ran it"
            ) from error
        if found_digest != digest:
            raise IntegrityError(f"{path}: differs from what entry {seq} recorded", seq)
    return {
        "entries": found.entries,
        "head": found.head.hash,
        "key": found.key,
        "own_key": found.key == _own_key(),
        "files": len(recorded),
    }


def _own_key() -> str | None:
    """Return the fingerprint of this machine's key; None if it has none, or none that can be used. None is made."""
    try:
        return load_signer().fingerprint if key_path().exists() else None
    except InputError:
        return None
