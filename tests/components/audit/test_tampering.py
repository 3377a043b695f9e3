"""Whatever is done to a record, or to what it speaks of, is found, and what was touched is named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from components.audit import verify_folder
from components.backends.anchors import Anchors
from components.backends.signing import Ed25519Signer, key_path
from components.run import Run
from nas_core.errors import IntegrityError
from nas_core.ledger import Head, Ledger
from nas_core.store import FolderStore
from tests.components.audit.forging import (
    better,
    copy_of,
    forge,
    lines,
    objects,
    own_signer,
    small_run,
    spelled_otherwise,
)

STRANGER = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))
FLIPS = 160


@pytest.fixture(scope="module")
def small(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A small run; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERNAS_SIGNING_KEY", str(own / "small.pem"))
        patch.setenv("EVERNAS_ANCHORS", str(own / "small-anchors"))
        yield small_run(tmp_path_factory.mktemp("small"))


class Copy:
    """A copy of the run, to be changed."""

    def __init__(self, folder: Path, anchors: Path) -> None:
        self.folder, self.anchors = folder, anchors
        self.entries = len(lines(folder))

    def verify(self, key: str | None = None, *, anchored: bool = True) -> dict[str, object]:
        return verify_folder(self.folder, key, anchors=None if anchored else False)

    def fails(self, what: str, key: str | None = None, *, anchored: bool = True) -> IntegrityError:
        with pytest.raises(IntegrityError, match=what) as caught:
            self.verify(key, anchored=anchored)
        return caught.value


@pytest.fixture
def copy(small: Run, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copy:
    folder, anchors = copy_of(small, own / "small-anchors", tmp_path)
    monkeypatch.setenv("EVERNAS_SIGNING_KEY", str(own / "small.pem"))
    monkeypatch.setenv("EVERNAS_ANCHORS", str(anchors))
    found = Copy(folder, anchors)
    record = next(Ledger(FolderStore(folder)).entries())
    assert record.data["anchors"] != str(anchors)
    return found


def test_the_run_is_in_order_and_in_both_layouts(copy: Copy) -> None:
    found = copy.verify()
    assert (found["trusted"], found["own_key"], found["files"]) == ("the key of the oldest anchor", True, 2)
    assert {path.parent.name for path in objects(copy.folder)} == {"ledger", "compacted"}
    assert isinstance(found["anchors"], dict)
    assert (found["anchors"]["checked"], found["anchors"]["newest"]) == (
        len(list(copy.anchors.rglob("*.json"))),
        copy.entries - 1,
    )
    assert found["anchors"]["checked"] >= 3


def test_every_changed_byte_is_found_and_its_line_named(copy: Copy) -> None:
    rng = np.random.default_rng(0)
    places = [(path, at) for path in objects(copy.folder) for at in range(path.stat().st_size)]
    chosen = [places[i] for i in rng.choice(len(places), FLIPS, replace=False)]
    # Each kind of byte of the newest line too: nothing follows that could vouch for it.
    last, size = objects(copy.folder)[-1], objects(copy.folder)[-1].stat().st_size
    chosen += [(last, at) for at in range(size - 420, size, 7)]
    for path, at in chosen:
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[at] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        first = int(path.stem.split("-")[0])
        line = first + whole[:at].count(b"\n")
        with pytest.raises(IntegrityError, match=r"entry [0-9]+") as caught:
            copy.verify()
        named = int(re.findall("entry ([0-9]+)", str(caught.value))[0])
        assert named in {line - 1, line, line + 1, first}, (path.name, at, str(caught.value))
        path.write_bytes(whole)
    copy.verify()


def test_a_signature_in_another_spelling_is_not_the_one_that_was_written(copy: Copy) -> None:
    path = objects(copy.folder)[-1]
    text = path.read_text()
    [signature] = re.findall('"signature":"([^"]*)"', text)
    path.write_text(text.replace(signature, spelled_otherwise(signature)))
    copy.fails(f"entry {copy.entries - 1}: not in the form of a seal")


def test_every_deleted_object_is_missed_by_its_first_entry(copy: Copy) -> None:
    for path in objects(copy.folder):
        whole, first = path.read_bytes(), int(path.stem.split("-")[0])
        path.unlink()
        copy.fails(f"entry {first}: missing")
        path.write_bytes(whole)


def test_every_deleted_line_is_missed(copy: Copy) -> None:
    for path in objects(copy.folder):
        whole, first = path.read_bytes(), int(path.stem.split("-")[0])
        parts = whole.splitlines(keepends=True)
        for index in range(len(parts)):
            path.write_bytes(b"".join(parts[:index] + parts[index + 1 :]))
            error = copy.fails("entry [0-9]+")
            assert error.entry is not None
            assert first <= error.entry <= first + index + 1
        path.write_bytes(whole)


def test_two_lines_that_changed_places_are_named(copy: Copy) -> None:
    path = max(objects(copy.folder), key=lambda each: each.stat().st_size)
    parts, first = path.read_text().splitlines(), int(path.stem.split("-")[0])
    parts[2], parts[4] = parts[4], parts[2]
    path.write_text("".join(f"{part}\n" for part in parts))
    copy.fails(f"entry {first + 2}: missing, entry {first + 4} is in its place")


def test_two_objects_that_changed_places_are_named(copy: Copy) -> None:
    one, two, *_ = objects(copy.folder)
    held = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(held)
    copy.fails("entry 0: missing")


def test_an_object_that_is_there_twice_is_named(copy: Copy) -> None:
    last = objects(copy.folder)[-1]
    first = int(last.stem)
    shutil.copy(last, last.with_name(f"{first + 1:08d}.jsonl"))
    copy.fails(f"entry {first + 1}")


def test_a_copy_of_what_was_merged_that_says_something_else_is_named(copy: Copy) -> None:
    merged = next(path for path in objects(copy.folder) if path.parent.name == "compacted")
    first = int(merged.stem.split("-")[0])
    begin = merged.read_text().splitlines(keepends=True)[:2]
    extra = copy.folder / "ledger" / f"{first:08d}.jsonl"
    extra.write_text("".join(begin))
    copy.verify()  # what an interrupted merger leaves is no harm
    extra.write_text("".join(begin).replace("0", "1", 1))
    copy.fails(f"entry {first}: there twice")


def test_a_foreign_object_is_named(copy: Copy) -> None:
    (copy.folder / "ledger" / "notes.txt").write_text("hello")
    copy.fails("ledger/notes.txt: not an object of the ledger")


@pytest.mark.parametrize("anchored", [True, False])
def test_what_is_cut_off_at_an_object_is_found_as_far_as_it_was_anchored(copy: Copy, anchored: bool) -> None:
    """Without anchors nobody can tell, and the guide says so."""
    last = objects(copy.folder)[-1]
    first = int(last.stem)
    last.unlink()
    if anchored:
        copy.fails(f"entry {first}: missing, though entries up to {copy.entries - 1} were anchored")
    else:
        assert copy.verify(anchored=False)["entries"] == first


@pytest.mark.parametrize("anchored", [True, False])
def test_what_is_cut_off_within_the_newest_commit_is_found_or_said(copy: Copy, anchored: bool) -> None:
    last = objects(copy.folder)[-1]
    whole, first = last.read_bytes(), int(last.stem)
    for size in [*range(1, len(whole) - 1, 97), len(whole) - 1]:
        last.write_bytes(whole[:size])
        if anchored:
            copy.fails(f"entry {first}: missing, though entries up to {copy.entries - 1} were anchored")
        else:
            found = copy.verify(anchored=False)
            assert (found["torn"], found["entries"]) == (f"ledger/{last.name}", first)


def test_what_is_cut_off_within_a_merged_object_is_found_without_anchors(copy: Copy) -> None:
    merged = [path for path in objects(copy.folder) if path.parent.name == "compacted"][-1]
    whole = merged.read_bytes()
    ends = [match.end() for match in re.finditer(b"\n", whole)][:-1]
    for size in [*ends, *(end - 1 for end in ends), len(whole) - 1]:
        merged.write_bytes(whole[:size])
        copy.fails("entry [0-9]+: ", anchored=False)


# ---------------------------------------------------------------- written anew


def test_a_chain_made_anew_without_a_key_fails_at_the_first_seal(copy: Copy) -> None:
    changed = forge(copy.folder, better, None)
    copy.fails(f"entry {changed + 1}: a seal whose signature is not right", anchored=False)
    copy.fails(f"entry {changed + 1}: a seal whose signature is not right")


def test_a_chain_sealed_anew_by_another_key_is_found_by_anchors_and_by_the_own_key(copy: Copy) -> None:
    changed = forge(copy.folder, better, STRANGER)
    assert changed > 0
    told = f"sealed by key {STRANGER.fingerprint[:16]}, expected key {own_signer().fingerprint[:16]}"
    error = copy.fails(f"{told}; trusted was the key of the oldest anchor")
    assert "entry 0: not what was anchored" in str(error) or "anchored at" in str(error)
    copy.fails(f"{told}; trusted was this machine's own key", anchored=False)
    copy.fails(told, own_signer().fingerprint, anchored=False)


def test_without_anchors_and_key_another_signer_is_told_only(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell, and the guide says so: know the fingerprint."""
    forge(copy.folder, better, STRANGER)
    monkeypatch.setenv("EVERNAS_SIGNING_KEY", str(copy.folder / "none.pem"))
    found = copy.verify(anchored=False)
    assert (found["key"], found["own_key"], found["trusted"]) == (STRANGER.fingerprint, False, "any one key")
    assert not key_path().exists()


def test_later_entries_written_anew_with_the_own_key_contradict_the_anchors(copy: Copy) -> None:
    changed = forge(copy.folder, better, own_signer())
    anchored = sorted(int(path.stem) for path in copy.anchors.rglob("*.json"))
    first = next(seq for seq in anchored if seq >= changed)
    copy.fails(f"entry {first}: not what was anchored at")
    assert copy.verify(anchored=False)["entries"] == copy.entries


def test_a_ledger_written_anew_from_its_start_contradicts_the_anchors(copy: Copy) -> None:
    def other(entry: dict[str, dict[str, object]]) -> None:
        if entry["kind"] == "cycle":
            entry["data"]["seed"] = 77

    assert forge(copy.folder, other, own_signer()) == 0
    copy.fails("entry 0: the ledger was written anew, another .* was anchored under the run's name")


def test_a_ledger_written_anew_under_another_name_is_found_by_its_folder(copy: Copy) -> None:
    def other(entry: dict[str, dict[str, object]]) -> None:
        if entry["kind"] == "cycle":
            entry["data"]["run"] = "tiny"

    forge(copy.folder, other, own_signer())
    copy.fails("entry 0: the ledger was written anew")


# ---------------------------------------------------------------- anchors


def test_a_run_that_has_gone_is_missed_by_its_anchors(copy: Copy) -> None:
    shutil.rmtree(copy.folder / "ledger")
    copy.fails("run small: has no ledger, though one was anchored")
    shutil.rmtree(copy.folder)
    copy.fails("run small: has no ledger, though one was anchored")
    copy.fails("entry 0: missing, there is no ledger", anchored=False)


def test_anchors_that_were_all_deleted_are_missed_where_the_record_says_that_they_are(
    small: Run, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERNAS_SIGNING_KEY", str(own / "small.pem"))
    monkeypatch.setenv("EVERNAS_ANCHORS", str(own / "small-anchors"))
    moved = (own / "small-anchors").rename(own / "moved-anchors")
    with pytest.raises(IntegrityError, match=r"anchors: there are none in .*small-anchors, where entry 0 says"):
        verify_folder(small.folder)
    moved.rename(own / "small-anchors")
    assert verify_folder(small.folder)


def test_every_changed_byte_of_an_anchor_is_found(copy: Copy) -> None:
    rng = np.random.default_rng(1)
    path = sorted(copy.anchors.rglob("*.json"))[1]
    whole = path.read_bytes()
    place = whole.index(b'"signature":"') + len(b'"signature":"')
    for at in range(0, len(whole), 5):
        if at == place + 85:  # bits that base64 does not use
            continue
        changed = bytearray(whole)
        changed[at] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        copy.fails(f"anchor small/[0-9a-f]+/{path.name}")
    path.write_bytes(whole)


def test_an_anchor_by_another_key_is_named(copy: Copy) -> None:
    path = max(copy.anchors.rglob("*.json"))
    data = json.loads(path.read_bytes())
    path.unlink()
    anchors = Anchors(FolderStore(copy.anchors), "small", data["ledger"])
    anchors.place(Head(data["seq"], data["hash"]), STRANGER)
    copy.fails(f"entry {data['seq']}: anchored at .* by key {STRANGER.fingerprint[:16]}, but sealed by")


def test_an_anchor_of_lines_that_never_were_is_taken_for_what_it_says(copy: Copy) -> None:
    data = json.loads(max(copy.anchors.rglob("*.json")).read_bytes())
    anchors = Anchors(FolderStore(copy.anchors), "small", data["ledger"])
    anchors.place(Head(copy.entries + 5, "0" * 64), own_signer())
    copy.fails(f"entry {copy.entries}: missing, though entries up to {copy.entries + 5} were anchored")


# ---------------------------------------------------------------- files


def test_every_recorded_file_that_was_changed_or_deleted_is_named(copy: Copy) -> None:
    for name in ("data_prep/profile.json", "search/notes.txt"):
        path = copy.folder / name
        whole = path.read_bytes()
        path.write_bytes(whole + b" ")
        copy.fails(f"{name}: differs from what entry [0-9]+ recorded")
        path.unlink()
        copy.fails(f"{name}: missing, though entry [0-9]+ recorded it")
        path.write_bytes(whole)


def test_another_spec_beside_the_record_is_named(copy: Copy) -> None:
    path = copy.folder / "spec.yaml"
    path.write_text(path.read_text().replace("trials: 3", "trials: 4"))
    copy.fails("spec.yaml: differs from the spec that entry 0 recorded")
