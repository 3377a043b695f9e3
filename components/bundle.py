"""A deployable model as a folder of files that vouch for one another. Light: a server opens it without torch or pandas.

model.onnx  encoder.json  signature.json      the network, how a raw row becomes its inputs, what is asked and answered
profile.json                                  what its training rows looked like, to tell drift from
model-card.md  provenance.json                what a person, and a script, may want to know about it
manifest.json                                 the SHA-256 of each of these; its own is the bundle's digest
manifest.sig.json                             the Ed25519 signature of manifest.json
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.backends.signing import verify_signature
from components.encoding import FILES, Column, Encoder, Values
from nas_core.errors import InputError, IntegrityError
from nas_core.ledger import Signer, fingerprint
from nas_core.store import create_file, make_folder, sync_folder

MODEL, ENCODER, SIGNATURE, PROFILE, CARD, PROVENANCE = (
    "model.onnx",
    "encoder.json",
    "signature.json",
    "profile.json",
    "model-card.md",
    "provenance.json",
)
_MANIFEST, _SEAL = "manifest.json", "manifest.sig.json"
CONTENT, BASE64 = "content_type", "base64"
"""A parameter of an input, and its value where the bytes that are meant come as base64 text."""

_AT_ONCE = 256
"""Rows that are encoded and predicted at a time: images are far larger as arrays than as files."""


class Files(NamedTuple):
    """A verified bundle: its digest, the fingerprint of the key that signed it, and its files by name."""

    digest: str
    key: str
    contents: Mapping[str, bytes]


def write(folder: Path, contents: Mapping[str, bytes], signer: Signer) -> str:
    """Write a bundle of `contents` to `folder`, whole or not at all, and return its digest; on disk when this returns.

    If `folder` is there it has to hold this very bundle, or IntegrityError is raised.
    """
    manifest = json.dumps(
        {"files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}}, indent=1
    ).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    if folder.exists():
        read(folder, digest)
        return digest
    seal = {
        "key": fingerprint(signer.public_key),
        "public_key": base64.b64encode(signer.public_key).decode(),
        "signature": base64.b64encode(signer.sign(manifest)).decode(),
    }
    temporary = folder.with_name(f".{secrets.token_hex(8)}.tmp")
    make_folder(temporary)
    try:
        for name, data in {**contents, _MANIFEST: manifest, _SEAL: json.dumps(seal, indent=1).encode()}.items():
            create_file(temporary / name, data)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(folder.parent)
    return digest


def is_bundle(folder: Path) -> bool:
    """Tell whether `folder` looks like a bundle."""
    return (folder / _MANIFEST).is_file()


def read(folder: Path, digest: str | None = None, key: str | None = None) -> Files:
    """Read all files of the bundle in `folder` into memory and verify them: what is used is what was verified.

    `digest` is the one on record, `key` the fingerprint of the key that must have signed it. InputError if there is no
    bundle, IntegrityError if a file was changed, added or removed, if digest, signature or key are not right, or if
    there is no bundle although one is on record.
    """
    if not is_bundle(folder):
        kind = InputError if digest is None else IntegrityError
        raise kind(f"{folder}: no bundle ({_MANIFEST} is missing); give the folder of one, or restore it")
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    manifest, seal = found.pop(_MANIFEST), found.pop(_SEAL, b"{}")
    actual = hashlib.sha256(manifest).hexdigest()
    if digest is not None and actual != digest:
        raise IntegrityError(f"{folder}: its digest is {actual}, recorded was {digest}; {_MANIFEST} was changed")
    signed_by = _signed_by(folder, manifest, seal)
    if key is not None and signed_by != key:
        raise IntegrityError(f"{folder}: signed by the key {signed_by}, trusted is {key} only")
    expected = json.loads(manifest)["files"]
    if expected.keys() != found.keys():
        raise IntegrityError(f"{folder}: files were added or removed: {', '.join(sorted(expected.keys() ^ found))}")
    for name, data in found.items():
        if hashlib.sha256(data).hexdigest() != expected[name]:
            raise IntegrityError(f"{folder}: {name} was changed after the bundle was signed")
    return Files(actual, signed_by, found)


def _signed_by(folder: Path, manifest: bytes, seal: bytes) -> str:
    try:
        value = json.loads(seal)
        public_key, signature = (base64.b64decode(value[name], validate=True) for name in ("public_key", "signature"))
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise IntegrityError(f"{folder}: {_SEAL} is missing or malformed") from error
    if not verify_signature(public_key, manifest, signature):
        raise IntegrityError(f"{folder}: the signature in {_SEAL} is not that of {_MANIFEST}; one of them was changed")
    return fingerprint(public_key)


def describe(name: str, encoder: Encoder, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return `signature.json`: the model's metadata in the words of the Open Inference Protocol, and its classes."""
    return {
        "name": name,
        "platform": "onnx_onnxruntime",
        "inputs": [_input(column) for column in encoder.columns],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(classes)]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
        "classes": list(classes),
    }


def _input(column: Column) -> dict[str, Any]:
    datatype = "FP64" if column.kind == "numeric" else "BYTES"
    encoded = {"parameters": {CONTENT: BASE64}} if column.kind in FILES else {}
    return {"name": column.name, "datatype": datatype, "shape": [-1], **encoded}


@dataclass(frozen=True)
class Model:
    """A bundle that is ready to predict; safe to use from several threads."""

    digest: str
    key: str
    signature: Mapping[str, Any]
    encoder: Encoder
    session: Any

    @property
    def name(self) -> str:
        """The deployment's name."""
        return str(self.signature["name"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, in the order of the probabilities."""
        return tuple(self.signature["classes"])

    def predict(self, columns: Mapping[str, Values]) -> np.ndarray:
        """Return probabilities, float32 (rows, classes), of raw columns; errors as `Encoder.encode_columns`."""
        batches = self.encoder.encode_batches(columns, _AT_ONCE)
        return np.concatenate([run(self.session, inputs) for inputs in batches])


def open_model(folder: Path, digest: str | None = None, key: str | None = None, threads: int = 1) -> Model:
    """Verify the bundle in `folder` as `read` does, and return it ready to predict with `threads` threads."""
    files = read(folder, digest, key)
    return Model(
        digest=files.digest,
        key=files.key,
        signature=json.loads(files.contents[SIGNATURE]),
        encoder=Encoder.from_json(json.loads(files.contents[ENCODER])),
        session=open_session(files.contents[MODEL], threads),
    )


def open_session(model: bytes, threads: int = 1) -> Any:
    """Return an ONNX Runtime session on the CPU; idle threads sleep instead of spinning."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(session: Any, inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return the session's probabilities, float32 (rows, classes), of `inputs` in port order."""
    names = [port.name for port in session.get_inputs()]
    probabilities: np.ndarray = session.run(None, dict(zip(names, inputs, strict=True)))[0]
    return probabilities


def run_batches(session: Any, inputs: tuple[np.ndarray, ...], sizes: Sequence[int]) -> np.ndarray:
    """Return `run` of all rows, so many at a time as `sizes` says in turn; the last size is repeated."""
    parts, start, step = [], 0, iter(sizes)
    while start < len(inputs[0]):
        size = next(step, sizes[-1])
        parts.append(run(session, tuple(array[start : start + size] for array in inputs)))
        start += size
    return np.concatenate(parts)
