"""An export is checked by its own script, without evernas; whatever was done to it is found."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from components.audit.export import HELD, export
from components.backends.signing import Ed25519Signer
from components.run import Run
from nas_core.errors import InputError, IntegrityError
from tests.components.audit.forging import better, forge, lines, objects, own_signer, small_run, spelled_otherwise

STRANGER = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))
GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "audit.md"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("places")


@pytest.fixture(autouse=True)
def key_and_anchors(own_places: None, places: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setenv("EVERNAS_SIGNING_KEY", str(places / "signing.pem"))
    monkeypatch.setenv("EVERNAS_ANCHORS", str(places / "anchors"))


@pytest.fixture(scope="module")
def small(places: Path) -> Iterator[Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERNAS_SIGNING_KEY", str(places / "signing.pem"))
        patch.setenv("EVERNAS_ANCHORS", str(places / "anchors"))
        yield small_run(places)


@pytest.fixture
def out(small: Run, tmp_path: Path) -> Path:
    export(small.folder, tmp_path / "export")
    return tmp_path / "export"


def check(folder: Path, *known: str) -> subprocess.CompletedProcess[str]:
    """Run the script as an auditor does: no environment, no packages."""
    command = [sys.executable, "-I", "-S", "verify.py", *known]
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True, check=False)


def all_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_script_finds_it_in_order_and_knows_what_you_know(out: Path) -> None:
    written = lines(out)
    key, head = own_signer().fingerprint, hashlib.sha256(written[-1].encode()).hexdigest()
    first = hashlib.sha256(written[0].encode()).hexdigest()
    done = check(out, key, head, first)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"in order: {len(written)} entries up to {head}, sealed by the key {key}\n"
    refused = check(out, STRANGER.fingerprint)
    assert refused.returncode == 1
    assert f"{STRANGER.fingerprint}: neither the key's fingerprint nor the hash of an entry" in refused.stderr


def test_it_holds_what_is_needed_and_nothing_of_evernas(small: Run, out: Path) -> None:
    files = all_files(out)
    assert {"README.md", "verify.py", "public-key.pem", "manifest.json", "spec.yaml", "data_prep/profile.json"} < set(
        files
    )
    assert json.loads(files["heads.jsonl"].splitlines()[0])["seq"] == 1
    assert files["ledger.jsonl"] == b"".join(path.read_bytes() for path in objects(small.folder))
    assert "evernas" not in re.findall(r"^(?:from|import) (\w+)", files["verify.py"].decode(), re.MULTILINE)
    manifest = json.loads(files["manifest.json"])
    assert set(manifest) == set(HELD) & set(files)
    assert manifest["spec.yaml"] == hashlib.sha256(small.spec_text.encode()).hexdigest()


def test_the_same_record_gives_the_same_bytes(small: Run, out: Path, tmp_path: Path) -> None:
    export(small.folder, tmp_path / "again")
    assert all_files(tmp_path / "again") == all_files(out)


def test_a_folder_that_holds_something_is_left_alone(small: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="taken is there and not empty"):
        export(small.folder, tmp_path / "taken")
    assert all_files(tmp_path / "taken") == {"notes.txt": b"mine"}
    (tmp_path / "empty").mkdir()
    export(small.folder, tmp_path / "empty")
    assert check(tmp_path / "empty").returncode == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_record_that_is_not_in_order_is_not_exported(small: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small.folder, tmp_path / "small"))
    (folder / "search" / "notes.txt").write_text("other")
    with pytest.raises(IntegrityError, match=r"notes.txt: differs"):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_commands_of_its_readme_work(out: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", (out / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    told = []
    for block in blocks:
        done = subprocess.run(["sh", "-e", "-c", block], cwd=out, capture_output=True, text=True, check=True)
        told.append(done.stdout.split())
    written = lines(out)
    before = hashlib.sha256(written[-2].encode()).hexdigest()
    assert told[0][:2] == ["in", "order:"]
    assert told[1] == ["Signature", "Verified", "Successfully"]
    assert told[2] == [before, "-", before]
    assert told[3] == [own_signer().fingerprint, "-"]


def test_the_guide_shows_the_script_as_it_is(out: Path) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert block == (out / "verify.py").read_text()
    assert len([line for line in block.splitlines() if line.strip()]) <= 50, "a page that one can read"


# ---------------------------------------------------------------- what somebody could do to it


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def changed_line(folder: Path) -> str:
    flip(objects(folder)[0], objects(folder)[0].read_bytes().index(b'"seed"') + 2)
    return "entry 0 or 1: changed"


def changed_last_seal(folder: Path) -> str:
    return _last_signature(folder, "A", "B") + "not right"


def broken_last_seal(folder: Path) -> str:
    return _last_signature(folder, "*", "*") + "not whole"


def _last_signature(folder: Path, one: str, other: str) -> str:
    """Put another letter into the middle of the last signature."""
    path = objects(folder)[-1]
    text = path.read_text()
    at = text.rindex('"signature":"') + 40
    path.write_text(text[:at] + (other if text[at] == one else one) + text[at + 1 :])
    return f"entry {len(lines(folder)) - 1}: its signature is "


def spelled_last_seal(folder: Path) -> str:
    path = objects(folder)[-1]
    text = path.read_text()
    *_, signature = re.findall('"signature":"([^"]*)"', text)
    path.write_text(text.replace(signature, spelled_otherwise(signature)))
    return f"entry {len(lines(folder)) - 1}: its signature is not whole"


def deleted_line(folder: Path) -> str:
    path = objects(folder)[-1]
    written = path.read_text().splitlines(keepends=True)
    path.write_text("".join(written[:4] + written[5:]))
    return "entry 3 or 4: changed, or not in its place"


def deleted_last_commit(folder: Path) -> str:
    path = objects(folder)[-1]
    written = path.read_text().splitlines(keepends=True)
    seals = [number for number, line in enumerate(written) if '"kind":"seal"' in line]
    path.write_text("".join(written[: seals[-2] + 1]))
    return f"entry {seals[-1]}: missing, or not what was anchored at"


def cut_line(folder: Path) -> str:
    path = objects(folder)[-1]
    path.write_bytes(path.read_bytes()[:-1])
    return f"entry {len(lines(folder)) - 1}: missing"


def cut_seal(folder: Path) -> str:
    (folder / "heads.jsonl").write_bytes(b"")
    path = objects(folder)[-1]
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    return f"entry {len(lines(folder))}: missing"


def swapped(folder: Path) -> str:
    path = max(objects(folder), key=lambda each: each.stat().st_size)
    parts = path.read_text().splitlines(keepends=True)
    parts[0], parts[2] = parts[2], parts[0]
    path.write_text("".join(parts))
    return "changed, or not in its place"


def doubled(folder: Path) -> str:
    path = objects(folder)[0]
    first = path.read_text().splitlines(keepends=True)[0]
    path.write_text(first + path.read_text())
    return "entry 0 or 1: changed"


def chained_anew(folder: Path) -> str:
    return f"entry {forge(folder, better, None) + 1}: its signature is not right"


def sealed_anew(folder: Path) -> str:
    forge(folder, better, STRANGER)
    return "entry 1: sealed by another key than public-key.pem"


def sealed_anew_with_its_key(folder: Path) -> str:
    """The stranger puts a key of its own in the place of the other too, but has no such anchors."""
    forge(folder, better, STRANGER)
    der = bytes.fromhex("302a300506032b6570032100") + STRANGER.public_key
    pem = subprocess.run(["openssl", "pkey", "-pubin", "-inform", "DER"], input=der, capture_output=True, check=True)
    (folder / "public-key.pem").write_bytes(pem.stdout)
    return "head 1: its signature is not right"


def written_anew_with_the_key(folder: Path) -> str:
    forge(folder, better, own_signer())
    return "not what was anchored at"


def changed_anchor(folder: Path) -> str:
    first, second, *others = (folder / "heads.jsonl").read_bytes().splitlines(keepends=True)
    head = json.loads(second)
    changed = json.dumps({**head, "hash": "0" * 64}).encode() + b"\n"
    (folder / "heads.jsonl").write_bytes(b"".join([first, changed, *others]))
    return f"head {head['seq']}: its signature is not right"


def changed_file(folder: Path) -> str:
    flip(folder / "data_prep" / "profile.json", 3)
    return "data_prep/profile.json: not what was recorded"


def deleted_file(folder: Path) -> str:
    (folder / "spec.yaml").unlink()
    return "spec.yaml"


def changed_manifest(folder: Path) -> str:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace(hashlib.sha256((folder / "spec.yaml").read_bytes()).hexdigest(), "0" * 64))
    return "spec.yaml: not in manifest.json as it is in the ledger"


@pytest.mark.parametrize(
    "tamper",
    [
        changed_line,
        changed_last_seal,
        broken_last_seal,
        spelled_last_seal,
        deleted_line,
        deleted_last_commit,
        cut_line,
        cut_seal,
        swapped,
        doubled,
        chained_anew,
        sealed_anew,
        sealed_anew_with_its_key,
        written_anew_with_the_key,
        changed_anchor,
        changed_file,
        deleted_file,
        changed_manifest,
    ],
    ids=lambda tamper: tamper.__name__,
)
def test_the_script_finds_and_names(out: Path, tamper: Callable[[Path], str]) -> None:
    told = tamper(out)
    done = check(out)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("NOT IN ORDER: ")
    assert told in done.stderr


def test_every_changed_byte_of_the_newest_line_and_of_an_anchor_is_found(out: Path) -> None:
    """Nothing follows these that could vouch for them."""
    last, heads = objects(out)[-1], out / "heads.jsonl"
    size = last.stat().st_size
    chosen = [(last, at) for at in range(size - 420, size, 41)] + [(heads, at) for at in range(2, 400, 71)]
    for path, at in chosen:
        whole = path.read_bytes()
        flip(path, at)
        done = check(out)
        assert done.returncode == 1, (path.name, at)
        assert done.stderr.startswith("NOT IN ORDER: "), (path.name, at)
        path.write_bytes(whole)
    assert check(out).returncode == 0


def test_what_only_a_fingerprint_can_tell(out: Path) -> None:
    """All of it made anew, by another key: in order, unless you know the key or a hash from elsewhere."""
    key = own_signer().fingerprint
    (out / "heads.jsonl").write_bytes(b"")
    sealed_anew_with_its_key(out)
    assert check(out).returncode == 0
    assert "neither the key's fingerprint" in check(out, key).stderr
