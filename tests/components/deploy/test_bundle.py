from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.backends.signing import load_signer
from components.bundle import open_model, open_session, read, run_batches, write
from components.prepared import Prepared
from nas_core.errors import InputError, IntegrityError

FILES = {"one.json": b"{}", "two.bin": b"\0\1"}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write(tmp_path / "bundle", FILES, load_signer())
    return tmp_path / "bundle"


def reseal(folder: Path) -> None:
    """Write the manifest that fits the files, as one would who has changed them but has not the key."""
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if "manifest" not in p.name}
    (folder / "manifest.json").write_text(json.dumps({"files": found}))


def test_what_was_written_is_read_and_vouched_for(written: Path) -> None:
    files = read(written)
    assert files.contents == FILES
    assert files.key == load_signer().fingerprint


def test_the_digest_is_that_of_the_manifest(written: Path) -> None:
    digest = hashlib.sha256((written / "manifest.json").read_bytes()).hexdigest()
    assert read(written, digest).digest == digest


def test_the_digest_depends_on_contents_only(written: Path, tmp_path: Path) -> None:
    reordered = dict(reversed(FILES.items()))
    assert write(tmp_path / "again", reordered, load_signer()) == read(written).digest


@pytest.mark.parametrize("name", [*FILES, "manifest.json", "manifest.sig.json"])
def test_one_changed_byte_is_found(written: Path, name: str) -> None:
    data = bytearray((written / name).read_bytes())
    data[len(data) // 2] ^= 1
    (written / name).write_bytes(data)
    with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
        read(written)


@pytest.mark.parametrize("name", [*FILES, "manifest.sig.json"])
def test_a_missing_file_is_found(written: Path, name: str) -> None:
    (written / name).unlink()
    with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
        read(written)


def test_an_added_file_is_found(written: Path) -> None:
    (written / "three").touch()
    with pytest.raises(IntegrityError, match="added or removed: three"):
        read(written)


def test_a_new_manifest_does_not_help_without_the_key(written: Path) -> None:
    (written / "one.json").write_bytes(b"[]")
    reseal(written)
    with pytest.raises(IntegrityError, match="signature"):
        read(written)


def test_another_key_is_not_the_trusted_one(written: Path) -> None:
    with pytest.raises(IntegrityError, match="trusted is abc only"):
        read(written, key="abc")


def test_another_bundle_is_not_the_recorded_one(written: Path) -> None:
    with pytest.raises(IntegrityError, match="recorded was abc"):
        read(written, "abc")


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no bundle \(manifest\.json is missing\)"):
        read(tmp_path)


def test_a_recorded_bundle_that_is_gone_is_a_breach(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="no bundle"):
        read(tmp_path, "abc")


def test_writing_the_same_again_changes_nothing(written: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in written.iterdir()}
    write(written, FILES, load_signer())
    assert {path.name: path.stat().st_mtime_ns for path in written.iterdir()} == before


def test_another_bundle_is_not_written_over(written: Path) -> None:
    with pytest.raises(IntegrityError):
        write(written, {"one.json": b"else"}, load_signer())
    assert read(written).contents == FILES


def test_a_bundle_that_cannot_be_written_whole_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        write(tmp_path / "bundle", {**FILES, "x" * 300: b""}, load_signer())
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - hidden files count


def test_a_model_predicts_from_raw_columns_as_from_encoded_rows(bundle: Path, prepared: Prepared) -> None:
    model, frame = open_model(bundle), prepared.frame("test").head(50)
    inputs, _ = prepared.arrays("test")
    raw = {str(name): column.astype(object).tolist() for name, column in frame.items()}
    expected = run_batches(model.session, tuple(array[:50] for array in inputs), [7])
    np.testing.assert_allclose(model.predict(raw), expected, atol=1e-6)


def test_batches_cover_every_row_once(bundle: Path, prepared: Prepared) -> None:
    session = open_session((bundle / "model.onnx").read_bytes())
    inputs, targets = prepared.arrays("test")
    probabilities = run_batches(session, inputs, [1, 2, 100])
    assert probabilities.shape == (len(targets), 2)
    np.testing.assert_allclose(probabilities, run_batches(session, inputs, [5000]), atol=1e-6)


def test_a_copy_elsewhere_is_as_good(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "copy")
    assert open_model(tmp_path / "copy").digest == open_model(bundle).digest
