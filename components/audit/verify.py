"""Whether a run's record is as it was written: the ledger, its anchors, the files, and what MLflow shows of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from components.audit.record import Record, read_record
from components.audit.witnesses import Witnesses, ask_anchors
from components.backends.signing import key_path, load_signer, verify_signature
from components.backends.storage import open_store
from nas_core.errors import InputError, IntegrityError, OutsideError
from nas_core.ledger import Verification, verify
from nas_core.store import Store

ANY = "any"
"""In place of a fingerprint: one key has to have sealed all, whichever it is."""

_MOST = 20


@dataclass
class _Findings:
    """What is not in order, the ledger first, and what could not be looked at."""

    problems: list[IntegrityError] = field(default_factory=list)
    unreadable: list[OutsideError] = field(default_factory=list)

    def settle(self) -> None:
        """Raise what was found, if anything was."""
        if len(self.problems) == 1:
            raise self.problems[0]
        if self.problems:
            shown = [f"- {problem}" for problem in self.problems[:_MOST]]
            if (more := len(self.problems) - _MOST) > 0:
                shown.append(f"- and {more} more")
            told = "\n".join([f"{len(self.problems)} things are not as they were recorded:", *shown])
            raise IntegrityError(told, self.problems[0].entry)
        if self.unreadable:
            raise self.unreadable[0]


def verify_folder(
    folder: Path,
    key: str | None = None,
    *,
    anchors: Store | Literal[False] | None = None,
    mlflow: bool | None = False,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Check the run in `folder` and return what was found in order.

    `key` is the fingerprint of the only key that may have sealed the ledger, or `any`. Without it that is the key of
    the oldest anchor, else this machine's own, else any one key; `trusted` in the result says which. `anchors` is where
    the heads were put besides (None: where this machine puts them; False: they are not looked at). `mlflow` compares
    what MLflow shows with the record (None: if it answers); `on_progress` is told how many candidates were compared.

    IntegrityError names all that is not as it was written, the ledger first: the first bad entry, what the anchors
    contradict, each file that is missing or differs from its newest recorded digest, each difference in MLflow. Files
    that no entry speaks of are nobody's concern. OutsideError if anchors, or MLflow where it has to answer, do not.
    """
    store, findings = open_store(str(folder)), _Findings()
    record = read_record(store)
    witnesses = _witnesses(folder, record, anchors, findings)
    trusted, why = _trusted(key, witnesses)
    found = _chain(store, record, trusted, why, findings)
    _anchored(record, found, witnesses, findings)
    files = _files(folder, record, findings)
    compared = None if mlflow is False else _mlflow(folder, record, findings, required=bool(mlflow), tell=on_progress)
    findings.settle()
    assert found is not None  # noqa: S101  otherwise there was a problem
    return {
        "entries": found.entries,
        "head": found.head.hash,
        "key": found.key,
        "own_key": found.key == _own_key(),
        "trusted": why,
        "torn": found.torn,
        "anchors": witnesses and witnesses.summary(),
        "files": files,
        "mlflow": compared,
    }


def _witnesses(
    folder: Path, record: Record, anchors: Store | Literal[False] | None, findings: _Findings
) -> Witnesses | None:
    """Return what the anchors say; None if nobody wants to know, or if they do not answer."""
    if anchors is False:
        return None
    try:
        witnesses = ask_anchors(folder.name, record, anchors)
    except OutsideError as error:
        findings.unreadable.append(
            OutsideError(f"{error}; nothing else is wrong, and --no-anchors checks without anchors")
        )
        return None
    findings.problems += witnesses.problems
    return witnesses


def _trusted(key: str | None, witnesses: Witnesses | None) -> tuple[str | None, str]:
    """Return the fingerprint of the key that has to have sealed the ledger, None for any one, and why that one."""
    if key == ANY:
        return None, "any one key"
    if key is not None:
        return key, "the key that was asked for"
    if witnesses and witnesses.anchors:
        return min(witnesses.anchors).key, "the key of the oldest anchor"
    own = _own_key()
    return (own, "this machine's own key") if own else (None, "any one key")


def _chain(store: Store, record: Record, trusted: str | None, why: str, findings: _Findings) -> Verification | None:
    """Check the ledger itself; what is wrong with it comes before all else."""
    try:
        return verify(store, verify_signature, trusted)
    except IntegrityError as error:
        found = error
    try:
        sound = verify(store, verify_signature)
    except IntegrityError as error:
        findings.problems.insert(0, error)
        record.broken = record.broken or error
    else:  # one key has sealed it, but it is not the right one
        hint = "if the run comes from elsewhere, ask there for the fingerprint, and give it as --key"
        findings.problems.insert(0, IntegrityError(f"{found}; trusted was {why}; {hint}", found.entry))
        return sound
    return None


def _anchored(record: Record, found: Verification | None, witnesses: Witnesses | None, findings: _Findings) -> None:
    """Compare the anchors with the lines up to the first bad one, which is named already."""
    if witnesses is None or not record.hashes:
        return
    end = record.broken.entry if record.broken and not found else None
    try:
        witnesses.check(record, found.key if found else None, end)
    except IntegrityError as error:
        findings.problems.insert(0 if found and not findings.problems else 1, error)


def _files(folder: Path, record: Record, findings: _Findings) -> int:
    """Compare the files with their digests; return how many are on record."""
    findings.problems += _given(folder, record)
    recorded = record.files
    for name, (digest, seq) in recorded.items():
        path = folder / name
        if not path.is_file():
            findings.problems.append(IntegrityError(f"{path}: missing, though entry {seq} recorded it", seq))
            continue
        try:
            with path.open("rb") as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == digest
        except OSError as error:
            told = f"{path}: cannot be read ({error.strerror}); verify it as the user who ran it"
            findings.unreadable.append(OutsideError(told))
            continue
        if not same:
            findings.problems.append(IntegrityError(f"{path}: differs from what entry {seq} recorded", seq))
    return len(recorded)


def _given(folder: Path, record: Record) -> Iterator[IntegrityError]:
    """Yield which of the files with the spec is not what the cycle began with."""
    digest = record.cycle.get("spec_digest")
    path = folder / "spec.yaml"
    if digest is None or "spec.yaml" in record.files or not path.is_file():
        return
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        yield IntegrityError(f"{path}: differs from the spec that entry 0 recorded", 0)


def _mlflow(
    folder: Path,
    record: Record,
    findings: _Findings,
    *,
    required: bool,
    tell: Callable[[int], None] | None,
) -> dict[str, Any]:
    from components.audit.mlflow import compare

    try:
        compared = compare(folder, record, tell)
    except OutsideError as error:
        if required:
            findings.unreadable.append(error)
        return {"checked": 0, "behind": 0, "differences": [], "skipped": str(error)}
    findings.problems += [IntegrityError(f"MLflow: {difference}") for difference in compared["differences"]]
    return compared


def _own_key() -> str | None:
    """Return the fingerprint of this machine's key; None if it has none, or none that can be used. None is made."""
    try:
        return load_signer().fingerprint if key_path().exists() else None
    except InputError:
        return None
