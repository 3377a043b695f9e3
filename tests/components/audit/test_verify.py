from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from components.audit import verify_folder
from components.backends.signing import Ed25519Signer, key_path, load_signer
from nas_core.errors import IntegrityError
from nas_core.ledger import Ledger
from nas_core.store import FolderStore

STRANGER = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))


class Cycle:
    """A folder with a ledger, and stages that leave files."""

    def __init__(self, folder: Path, signer: Ed25519Signer) -> None:
        self.folder = folder
        self.ledger = Ledger(FolderStore(folder), signer)
        self.ledger.append("cycle", {"run": "x"})

    def stage(self, name: str, files: dict[str, str]) -> int:
        for path, text in files.items():
            place = self.folder / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        digests = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in files.items()}
        return self.ledger.append("stage", {"stage": name, "files": digests}).seq


@pytest.fixture
def cycle(tmp_path: Path) -> Cycle:
    cycle = Cycle(tmp_path / "run", load_signer())
    cycle.stage("search", {"weights/0/state.json": "{}"})
    cycle.stage("retrain", {"seed-0/model.json": "{}", "seed-0/weights": "w"})
    return cycle


def test_an_untouched_run_is_in_order(cycle: Cycle) -> None:
    (cycle.folder / "retrain" / "notes.txt").write_text("no entry speaks of this one")
    assert verify_folder(cycle.folder) == {
        "entries": 6,
        "head": cycle.ledger.head.hash,
        "key": load_signer().fingerprint,
        "own_key": True,
        "trusted": "this machine's own key",
        "torn": None,
        "anchors": {"checked": 0, "newest": None, "time": None},
        "files": 3,
        "mlflow": None,
    }


@pytest.mark.parametrize("text", ["v", "", "ww"])
def test_a_changed_file_is_named_with_the_entry_that_recorded_it(cycle: Cycle, text: str) -> None:
    (cycle.folder / "retrain" / "seed-0" / "weights").write_text(text)
    with pytest.raises(IntegrityError, match="retrain/seed-0/weights: differs from what entry 4 recorded") as caught:
        verify_folder(cycle.folder)
    assert caught.value.entry == 4


def test_a_missing_file_is_named(cycle: Cycle) -> None:
    (cycle.folder / "search" / "weights" / "0" / "state.json").unlink()
    with pytest.raises(IntegrityError, match=r"state.json: missing, though entry 2 recorded it"):
        verify_folder(cycle.folder)


def test_everything_that_is_wrong_is_named_the_ledger_first(cycle: Cycle) -> None:
    (cycle.folder / "search" / "weights" / "0" / "state.json").unlink()
    path = cycle.folder / "ledger" / "00000004.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"retrain"', b'"RETRAIN"'))
    with pytest.raises(IntegrityError) as caught:
        verify_folder(cycle.folder)
    first, second = re.findall("^- (.*)", str(caught.value), re.MULTILINE)
    assert first.startswith("entry 4:")
    assert second.endswith("state.json: missing, though entry 2 recorded it")
    assert caught.value.entry == 4


def test_of_many_problems_twenty_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    cycle = Cycle(tmp_path / "run", load_signer())
    cycle.stage("search", {f"weights/{number}/state.json": "{}" for number in range(30)})
    shutil.rmtree(cycle.folder / "search")
    with pytest.raises(IntegrityError, match="30 things are not as they were recorded") as caught:
        verify_folder(cycle.folder)
    assert str(caught.value).count("missing, though entry 2") == 20
    assert str(caught.value).endswith("- and 10 more")


def test_a_stage_that_was_done_again_is_judged_by_its_newest_entry(cycle: Cycle) -> None:
    (cycle.folder / "retrain" / "seed-0" / "weights").unlink()
    cycle.stage("retrain", {"seed-0/model.json": "[]"})
    assert verify_folder(cycle.folder)["files"] == 2


def test_another_key_than_the_trusted_one_is_refused(cycle: Cycle) -> None:
    assert verify_folder(cycle.folder, load_signer().fingerprint)["own_key"]
    with pytest.raises(IntegrityError, match=r"sealed by key .*, expected key"):
        verify_folder(cycle.folder, STRANGER.fingerprint)


@pytest.mark.parametrize("key", [STRANGER.fingerprint, "any"])
def test_a_run_of_another_machine_is_in_order_for_who_says_so(tmp_path: Path, key: str) -> None:
    Cycle(tmp_path / "run", STRANGER)
    own = load_signer().fingerprint
    with pytest.raises(IntegrityError, match=f"expected key {own[:16]}; trusted was this machine's own key"):
        verify_folder(tmp_path / "run")
    found = verify_folder(tmp_path / "run", key)
    assert found["key"] == STRANGER.fingerprint
    assert not found["own_key"]


@pytest.mark.parametrize("key", [None, "not a key"])
def test_verifying_needs_no_key_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    Cycle(tmp_path / "run", STRANGER)
    monkeypatch.setenv("EVERNAS_SIGNING_KEY", str(tmp_path / "signing.pem"))
    if key:
        key_path().write_text(key)
    found = verify_folder(tmp_path / "run")
    assert (found["own_key"], found["trusted"]) == (False, "any one key")
    assert key_path().exists() == bool(key)


def test_the_files_of_the_report_are_checked_too(cycle: Cycle) -> None:
    page = cycle.folder / "report.html"
    page.write_text("<p>promoted</p>")
    digest = hashlib.sha256(page.read_bytes()).hexdigest()
    cycle.ledger.append("published", {"files": {"report.html": digest}})
    assert verify_folder(cycle.folder)["files"] == 4
    page.write_text("<p>blocked</p>")
    with pytest.raises(IntegrityError, match=r"report.html: differs from what entry 6 recorded"):
        verify_folder(cycle.folder)


def test_what_a_trial_reported_is_no_report_of_the_cycle(cycle: Cycle) -> None:
    cycle.ledger.append("report", {"number": 0, "step": 1, "metrics": {}, "stop": False})
    assert verify_folder(cycle.folder)["files"] == 3
