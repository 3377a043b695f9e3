"""Anchors in a folder, in S3, and in S3 with versions and Object Lock; what they find out about a ledger."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from components.backends import anchoring
from components.backends.anchors import (
    Anchor,
    Anchoring,
    Anchors,
    anchored_ledgers,
    anchors_uri,
    check,
    open_anchors,
)
from components.backends.s3 import S3Store
from components.backends.s3_retained import RetainedS3Store
from components.backends.signing import Ed25519Signer
from components.backends.storage import open_s3
from nas_core.errors import InputError, IntegrityError, OutsideError
from nas_core.ledger import Head, Ledger
from nas_core.store import FolderStore, MemoryStore, Store
from tests.components.backends.faulty_proxy import FaultyProxy

SIGNER = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
STRANGER = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))
LEDGER = "0123456789abcdef" * 4
NewBucket = Callable[..., str]


def clock() -> datetime:
    return datetime(2026, 1, 31, 12, tzinfo=UTC)


def head(seq: int, letter: str = "a") -> Head:
    return Head(seq, letter * 64)


@pytest.fixture(params=["folder", "s3", "s3 with versions", "s3 with Object Lock"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "folder":
        yield FolderStore(tmp_path / "anchors")
        return
    new_bucket: NewBucket = request.getfixturevalue("new_bucket")
    name = new_bucket(**({"ObjectLockEnabledForBucket": True} if "Lock" in request.param else {}))
    if "versions" in request.param:
        versioned(request.getfixturevalue("s3_client"), name)
    store = RetainedS3Store(name, "anchors")
    yield store
    store.close()


def versioned(client: Any, bucket: str) -> None:
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


# ---------------------------------------------------------------- placing


def test_what_was_placed_is_read_back_in_order(store: Store) -> None:
    anchors = Anchors(store, "run-1", LEDGER, clock)
    assert anchors.newest() is None
    assert anchors.all() == []
    for seq in (7, 2, 10**8 + 1, 99_999_999):
        anchors.place(head(seq), SIGNER)
    time = "2026-01-31T12:00:00.000000+00:00"
    expected = [Anchor(seq, "a" * 64, time, SIGNER.fingerprint) for seq in (2, 7, 99_999_999, 10**8 + 1)]
    assert anchors.all() == expected
    assert anchors.newest() == expected[-1]
    assert anchors.ledgers_of("run-1") == [LEDGER[:16]]
    assert anchors.ledgers_of("run") == []


def test_the_document_is_canonical_json_that_anybody_can_check() -> None:
    store = MemoryStore()
    Anchors(store, "run-1", LEDGER, clock).place(head(7), SIGNER)
    document = store.read("run-1/0123456789abcdef/00000007.json")
    data = json.loads(document)
    assert json.dumps(data, sort_keys=True, separators=(",", ":")).encode() == document
    assert list(data) == ["hash", "key", "ledger", "public_key", "run", "seq", "signature", "time"]
    assert (data["run"], data["ledger"], data["seq"], data["hash"]) == ("run-1", LEDGER[:16], 7, "a" * 64)


def test_the_same_head_again_is_nothing_and_another_hash_breaks_integrity(store: Store) -> None:
    anchors = Anchors(store, "run-1", LEDGER)
    anchors.place(head(7), SIGNER)
    before = anchors.all()
    anchors.place(head(7), SIGNER)
    assert anchors.all() == before
    with pytest.raises(
        IntegrityError, match=r"entry 7: anchored at .* with another hash than the ledger has now"
    ) as at:
        anchors.place(head(7, "b"), SIGNER)
    assert at.value.entry == 7
    assert anchors.all() == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda document: document.replace(b"a" * 64, b"b" * 64), "signature is not right"),
        (lambda document: document.replace(b'"seq":7', b'"seq":8'), "signature is not right"),
        (lambda document: document.replace(b'"seq":7', b'"seq": 7'), "not in the form of an anchor"),
        (lambda document: document[:-1], "not in the form of an anchor"),
        (lambda _: b"[" * 100_000, "not in the form of an anchor"),
        (lambda _: b"7", "not in the form of an anchor"),
        (lambda _: b"", "not in the form of an anchor"),
    ],
)
def test_a_changed_anchor_is_named(change: Callable[[bytes], bytes], says: str) -> None:
    store = MemoryStore()
    anchors = Anchors(store, "run-1", LEDGER)
    anchors.place(head(7), SIGNER)
    key = "run-1/0123456789abcdef/00000007.json"
    store.replace(key, change(store.read(key)))
    for look in (anchors.all, anchors.newest):
        with pytest.raises(IntegrityError, match=f"anchor {key}: .*{says}"):
            look()


def test_an_anchor_in_anothers_place_is_named() -> None:
    store = MemoryStore()
    anchors = Anchors(store, "run-1", LEDGER)
    anchors.place(head(7), SIGNER)
    document = store.read("run-1/0123456789abcdef/00000007.json")
    store.replace("run-1/0123456789abcdef/00000008.json", document)
    with pytest.raises(IntegrityError, match=r"00000008\.json: belongs to run-1/0123456789abcdef, entry 7"):
        anchors.newest()
    store.replace("run-1/0123456789abcdef/notes.txt", document)
    with pytest.raises(IntegrityError, match=r"notes\.txt: not an anchor's name"):
        anchors.newest()


# ---------------------------------------------------------------- where


def test_their_place_is_a_folder_of_the_users_state_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EVERNAS_ANCHORS")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert anchors_uri() == str(tmp_path / "evernas" / "anchors")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert anchors_uri() == str(tmp_path / "home" / ".local" / "state" / "evernas" / "anchors")


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_the_environment_names_another_place(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bucket: str
) -> None:
    monkeypatch.setenv("EVERNAS_ANCHORS", str(tmp_path / "there") if kind == "folder" else f"s3://{bucket}/there")
    open_anchors("run-1", LEDGER).place(head(3), SIGNER)
    newest = open_anchors("run-1", LEDGER[:16]).newest()
    assert newest
    assert newest.seq == 3
    assert anchored_ledgers("run-1") == [LEDGER[:16]]
    assert anchored_ledgers("run-2") == []


@pytest.mark.parametrize("ledger", ["", "0123", "x" * 16, "../../../../../../.."])
def test_a_ledger_is_known_by_its_hash(ledger: str) -> None:
    with pytest.raises(ValueError, match="ledger_id: must be 16 or more digits of a SHA-256"):
        Anchors(MemoryStore(), "run-1", ledger)


# ---------------------------------------------------------------- Object Lock and versions


def retention(client: Any, bucket: str, key: str) -> tuple[str, datetime]:
    found = client.head_object(Bucket=bucket, Key=key)
    return found["ObjectLockMode"], found["ObjectLockRetainUntilDate"]


KEY = f"there/run-1/{LEDGER[:16]}/00000007.json"


def test_without_a_default_of_the_bucket_the_variable_says_how_long_anchors_stay(
    new_bucket: NewBucket, s3_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERNAS_ANCHOR_RETENTION_DAYS", "30")
    bucket = new_bucket(ObjectLockEnabledForBucket=True)
    store = open_s3(f"s3://{bucket}/there", retained=True)
    Anchors(store, "run-1", LEDGER).place(head(7), SIGNER)
    mode, until = retention(s3_client, bucket, KEY)
    assert mode == "GOVERNANCE"
    assert abs(until - datetime.now(UTC) - timedelta(days=30)) < timedelta(hours=1)
    [version] = s3_client.list_object_versions(Bucket=bucket, Prefix=KEY)["Versions"]
    with pytest.raises(ClientError, match="AccessDenied"):
        s3_client.delete_object(Bucket=bucket, Key=KEY, VersionId=version["VersionId"])
    store.close()


def test_the_buckets_own_default_decides(new_bucket: NewBucket, s3_client: Any) -> None:
    bucket = new_bucket(ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 7}}
    s3_client.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    store = RetainedS3Store(bucket, "there")
    Anchors(store, "run-1", LEDGER).place(head(7), SIGNER)
    mode, until = retention(s3_client, bucket, KEY)
    assert mode == "COMPLIANCE"
    assert abs(until - datetime.now(UTC) - timedelta(days=7)) < timedelta(hours=1)
    store.close()


@pytest.mark.parametrize("days", ["0", "-1", "a week", "1e3", "99999"])
def test_an_impossible_retention_is_refused(new_bucket: NewBucket, monkeypatch: pytest.MonkeyPatch, days: str) -> None:
    monkeypatch.setenv("EVERNAS_ANCHOR_RETENTION_DAYS", days)
    store = RetainedS3Store(new_bucket(ObjectLockEnabledForBucket=True))
    with pytest.raises(InputError, match="EVERNAS_ANCHOR_RETENTION_DAYS: must be a whole number of days"):
        Anchors(store, "run-1", LEDGER).place(head(7), SIGNER)
    store.close()


@pytest.mark.parametrize("lock", [False, True])
def test_a_deleted_or_overwritten_anchor_is_seen_all_the_same(
    new_bucket: NewBucket, s3_client: Any, lock: bool
) -> None:
    bucket = new_bucket(ObjectLockEnabledForBucket=lock)
    versioned(s3_client, bucket)
    store = RetainedS3Store(bucket, "there")
    anchors = Anchors(store, "run-1", LEDGER)
    for seq in (3, 5, 7):
        anchors.place(head(seq), SIGNER)
    forger = S3Store(bucket, "there")
    forger.remove(f"run-1/{LEDGER[:16]}/00000007.json")
    other = MemoryStore()
    Anchors(other, "run-1", LEDGER).place(head(5, "f"), SIGNER)
    forger.replace(f"run-1/{LEDGER[:16]}/00000005.json", other.read(f"run-1/{LEDGER[:16]}/00000005.json"))
    found = [(anchor.seq, anchor.hash[0], anchor.hidden) for anchor in anchors.all()]
    assert found == [(3, "a", ""), (5, "a", "overwritten"), (7, "a", "deleted")]
    newest = anchors.newest()
    assert newest
    assert newest.seq == 7
    with pytest.raises(IntegrityError, match="entry 5: missing, though entries up to 7 were anchored"):
        anchors.check(lambda _: "a" * 64, head(4), SIGNER.fingerprint)
    told = anchors.check(lambda _: "a" * 64, head(9), SIGNER.fingerprint)
    assert [anchor.seq for anchor in told.hidden] == [5, 7]
    for opened in (store, forger):
        opened.close()


def test_a_version_that_breaks_off_is_read_on_and_other_bytes_are_refused(
    new_bucket: NewBucket, s3_client: Any, proxy: FaultyProxy
) -> None:
    bucket = new_bucket()
    versioned(s3_client, bucket)
    store = RetainedS3Store(bucket, "there", {"endpoint_url": proxy.address})
    anchors = Anchors(store, "run-1", LEDGER)
    anchors.place(head(7), SIGNER)
    [key] = store.keys()
    version = store.originals("")[key].version
    proxy.plan_once("cut half-way", "503", "cut half-way", method="GET")
    assert store.read_version(key, version) == store.read(key)
    proxy.plan_once("flip", method="GET")
    with pytest.raises(OutsideError, match="came with other bytes than were stored"):
        store.read_version(key, version)
    with pytest.raises(FileNotFoundError):
        store.read_version("absent", version)
    store.close()


def test_all_pages_of_versions_are_read(new_bucket: NewBucket, s3_client: Any) -> None:
    bucket = new_bucket()
    versioned(s3_client, bucket)
    store = RetainedS3Store(bucket)
    for number in range(40):
        store.replace(f"a/{number:02d}", b"old")
        store.replace(f"a/{number:02d}", b"new")
    found = store.originals("a/")
    assert list(found) == [f"a/{number:02d}" for number in range(40)]
    assert {store.read_version(key, original.version) for key, original in found.items()} == {b"old"}
    store.close()


# ---------------------------------------------------------------- comparing

LINES = [f"{number:064x}" for number in range(10)]
"""The hashes of a ledger of ten lines."""


def hash_at(seq: int) -> str | None:
    return LINES[seq] if 0 <= seq < len(LINES) else None


def placed(*seqs: int, key: str = SIGNER.fingerprint) -> list[Anchor]:
    return [Anchor(seq, f"{seq:064x}", f"time-{seq}", key) for seq in seqs]


def test_a_ledger_that_is_as_it_was_anchored_passes() -> None:
    told = check(placed(2, 5, 9), hash_at, Head(9, LINES[9]), SIGNER.fingerprint)
    assert (told.newest, told.count, told.hidden) == (placed(9)[0], 3, ())
    assert check([], hash_at, Head(9, LINES[9]), None).newest is None
    assert check(placed(2), hash_at, Head(9, LINES[9]), None).count == 1


@pytest.mark.parametrize(
    ("anchors", "lines", "key", "others", "entry", "says"),
    [
        (placed(2, 12), 10, SIGNER, (), 10, "entry 10: missing, though entries up to 12 were anchored by time-12"),
        (placed(2, 5), 4, SIGNER, (), 4, "entry 4: missing, though entries up to 5 were anchored by time-5"),
        (placed(0), 0, SIGNER, (), 0, "entry 0: missing"),
        (
            [placed(2)[0], Anchor(5, "f" * 64, "noon", SIGNER.fingerprint)],
            10,
            SIGNER,
            (),
            5,
            "entry 5: not what was anc",
        ),
        (placed(2, 5), 10, STRANGER, (), 2, "entry 2: anchored at time-2 by key .* but sealed by"),
        ([], 10, SIGNER, ("ab" * 8,), 0, "entry 0: the ledger was written anew, another .abab.*and this one was not"),
    ],
)
def test_a_ledger_that_is_not_as_it_was_anchored_is_named_by_its_first_bad_entry(
    anchors: Sequence[Anchor], lines: int, key: Ed25519Signer, others: Sequence[str], entry: int, says: str
) -> None:
    with pytest.raises(IntegrityError, match=says) as caught:
        check(anchors, hash_at, Head(lines - 1, hash_at(lines - 1) or "0" * 64), key.fingerprint, others)
    assert caught.value.entry == entry


def test_a_ledger_written_anew_by_who_has_the_key_is_found_by_its_runs_anchors(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "anchors")
    for text in ("true", "false"):
        ledger = Ledger(FolderStore(tmp_path / text), SIGNER)
        [first] = ledger.commit([("note", {"text": text})])
        anchors = Anchors(store, "run-1", first.hash)
        hashes = {entry.seq: entry.hash for entry in ledger.entries()}
        if text == "true":
            anchors.place(ledger.head, SIGNER)
            assert anchors.check(hashes.get, ledger.head, SIGNER.fingerprint).count == 1
        else:
            with pytest.raises(IntegrityError, match="the ledger was written anew"):
                anchors.check(hashes.get, ledger.head, SIGNER.fingerprint)


# ---------------------------------------------------------------- while the ledger grows


class Watched(MemoryStore):
    """Says when an anchor was placed; may be down."""

    def __init__(self) -> None:
        super().__init__()
        self.down: Exception | None = None
        self.tried, self.placed = threading.Event(), threading.Event()

    def create(self, key: str, data: bytes) -> None:
        self.tried.set()
        if self.down:
            raise self.down
        super().create(key, data)
        self.placed.set()


@pytest.fixture
def watched() -> Watched:
    return Watched()


def anchored(store: Watched) -> list[int]:
    return [anchor.seq for anchor in Anchors(store, "run-1", LEDGER).all()]


def anchoring_of(store: Watched, notes: list[str], seconds: float) -> Anchoring:
    return Anchoring(lambda: Anchors(store, "run-1", LEDGER), SIGNER, notes.append, seconds)


def test_the_first_head_is_anchored_at_once_the_last_at_the_end_and_few_between(watched: Watched) -> None:
    notes: list[str] = []
    with anchoring_of(watched, notes, seconds=600) as tell:
        tell(head(1))
        assert watched.placed.wait(10)
        for seq in range(2, 50):
            tell(head(seq))
        assert anchored(watched) == [1]
    assert anchored(watched) == [1, 49]
    assert notes == []


def test_heads_are_anchored_while_the_ledger_grows(watched: Watched) -> None:
    with anchoring_of(watched, [], seconds=0.01) as tell:
        for seq in (1, 2, 3):
            watched.placed.clear()
            tell(head(seq))
            assert watched.placed.wait(10)
    assert anchored(watched) == [1, 2, 3]


def test_without_news_nothing_is_anchored(watched: Watched) -> None:
    with anchoring_of(watched, [], seconds=0.01):
        pass
    assert not watched.tried.is_set()


def test_an_outage_is_told_once_and_the_newest_head_is_tried_again(watched: Watched) -> None:
    notes: list[str] = []
    watched.down = OutsideError("no answer")
    with anchoring_of(watched, notes, seconds=0.01) as tell:
        for seq in (1, 2, 3):
            watched.tried.clear()
            tell(head(seq))
            assert watched.tried.wait(10)
        watched.down = None
        assert watched.placed.wait(10)  # without further news
    assert anchored(watched) == [3]
    assert notes == ["not anchored yet, the work goes on: no answer", "anchored again, up to entry 3"]


def test_a_dead_store_does_not_keep_the_work_waiting(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchoring, "_LAST_TRY_SECONDS", 0.05)
    release, notes = threading.Event(), list[str]()

    def hang() -> Anchors:
        release.wait(30)
        return Anchors(watched, "run-1", LEDGER)

    with Anchoring(hang, SIGNER, notes.append, 0.01) as tell:
        tell(head(1))
    assert [note for note in notes if "the last head is not anchored" in note] == notes != []
    release.set()
    assert watched.placed.wait(10)


def test_another_hash_in_its_place_is_told(watched: Watched) -> None:
    Anchors(watched, "run-1", LEDGER).place(head(1, "b"), SIGNER)
    notes: list[str] = []
    with anchoring_of(watched, notes, seconds=0.01) as tell:
        tell(head(1))
    assert len(notes) == 1
    assert "entry 1: anchored at" in notes[0]


def test_a_ledger_anchors_what_it_commits(watched: Watched) -> None:
    store = MemoryStore()

    def opened() -> Anchors:
        return Anchors(watched, "run-1", next(Ledger(store).entries()).hash)

    with Anchoring(opened, SIGNER, pytest.fail, 600) as tell:
        ledger = Ledger(store, SIGNER, on_commit=tell)
        for _ in range(5):
            ledger.append("note", {})
    anchors = opened()
    newest = anchors.newest()
    assert newest
    assert (newest.seq, newest.hash) == ledger.head
    hashes = {entry.seq: entry.hash for entry in ledger.entries()}
    assert anchors.check(hashes.get, ledger.head, SIGNER.fingerprint).newest == newest
