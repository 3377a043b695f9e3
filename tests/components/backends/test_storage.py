"""Addresses of stores, and what every store has to keep: a folder, memory, S3."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.backends.s3 import S3Store
from components.backends.signing import load_signer, verify_signature
from components.backends.storage import get_file, open_store, put_file
from nas_core.errors import FencedError, InputError, IntegrityError
from nas_core.ledger import Ledger, verify
from nas_core.store import FolderStore, MemoryStore, Store

KINDS: dict[str, Callable[[Path, pytest.FixtureRequest], Store]] = {
    "folder": lambda path, _: FolderStore(path / "root"),
    "memory": lambda _, __: MemoryStore(),
    "s3": lambda _, request: request.getfixturevalue("s3_store"),
    "s3 in parts": lambda _, request: S3Store(request.getfixturevalue("bucket"), multipart=1),
}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return KINDS[request.param](tmp_path, request)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize("address", ["{}", "file://{}", "file://localhost{}"])
def test_a_folder_is_opened_by_path_or_file_address(tmp_path: Path, address: str) -> None:
    open_store(address.format(tmp_path / "runs")).create("a/b", b"data")
    assert (tmp_path / "runs" / "a" / "b").read_bytes() == b"data"


def test_a_file_address_may_be_percent_encoded(tmp_path: Path) -> None:
    open_store(f"file://{tmp_path}/my%20runs").create("a", b"")
    assert (tmp_path / "my runs" / "a").exists()


def test_a_relative_path_is_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("runs").create("a", b"")
    assert (tmp_path / "runs" / "a").exists()


@pytest.mark.parametrize(("prefix", "kept"), [("", ""), ("/", ""), ("/runs", "runs/"), ("/runs/of/us/", "runs/of/us/")])
def test_a_bucket_is_opened_by_its_address(bucket: str, prefix: str, kept: str) -> None:
    store = open_store(f"s3://{bucket}{prefix}")
    store.create("a/b", b"data")
    whole = S3Store(bucket)
    assert whole.read(f"{kept}a/b") == b"data"
    assert store.keys() == ["a/b"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (
            "http://host/x",
            "http:// is not supported, got 'http://host/x'; give a folder's path, a file:// address or s3",
        ),
        ("file://host/share", "must be file:///path"),
        ("file://", "must be file:///path"),
        ("", "must not be empty"),
        ("  ", "must not be empty"),
        ("s3://", "a bucket's name has 3 to 63"),
        ("s3://Bucket/x", "a bucket's name has 3 to 63"),
        ("s3://bucket/a//b", "must be names joined by '/'"),
        ("s3://bucket/../b", "must be names joined by '/'"),
        ("s3://bucket/a?versionId=1", "must be s3://bucket/prefix and nothing else"),
        ("s3://key:secret@bucket/a", "must be s3://bucket/prefix and nothing else"),
        ("s3://localhost:9000/a", "name the server by AWS_ENDPOINT_URL_S3"),
    ],
)
def test_other_addresses_are_refused_with_what_is_supported(address: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        open_store(address)
    assert says in str(caught.value)


def test_without_boto3_the_extra_is_named_and_folders_work() -> None:
    script = (
        "import sys; sys.modules['boto3'] = None\n"
        "from components.backends.storage import open_store\n"
        "from nas_core.errors import InputError\n"
        "open_store('folder')\n"
        "try: open_store('s3://bucket/runs')\n"
        "except InputError as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told == "storage: s3://bucket/runs needs boto3; pip install 'evernas[s3]'\n"


# ---------------------------------------------------------------- what every store keeps


@pytest.mark.parametrize("data", [b"", b"bytes\x00\xff", b"many " * 50_000])
def test_what_was_created_is_read_back(store: Store, data: bytes) -> None:
    store.create("ledger/00000000.jsonl", data)
    assert store.read("ledger/00000000.jsonl") == data


@pytest.mark.parametrize("data", [b"first", b"second", b""])
def test_a_key_is_created_once_even_with_equal_data(store: Store, data: bytes) -> None:
    store.create("a", b"first")
    with pytest.raises(FileExistsError):
        store.create("a", data)
    assert store.read("a") == b"first"


def test_what_was_replaced_cannot_be_created(store: Store) -> None:
    store.replace("a", b"first")
    with pytest.raises(FileExistsError):
        store.create("a", b"second")


def test_replace_overwrites_or_creates(store: Store) -> None:
    store.replace("deep/er/pointer.json", b"1")
    store.replace("deep/er/pointer.json", b"2")
    assert store.read("deep/er/pointer.json") == b"2"
    assert store.keys() == ["deep/er/pointer.json"]


def test_what_is_removed_is_gone_and_may_be_created_again(store: Store) -> None:
    store.create("a/b", b"1")
    store.remove("a/b")
    store.remove("a/b")
    store.remove("never/was")
    assert store.keys() == []
    with pytest.raises(FileNotFoundError):
        store.read("a/b")
    store.create("a/b", b"2")
    assert store.read("a/b") == b"2"


def test_many_are_removed_at_once(store: Store) -> None:
    for key in ("a", "b/1", "b/2", "c"):
        store.create(key, b"")
    store.remove()
    assert len(store.keys()) == 4
    store.remove("a", "never/was", "b/2", "b/1")
    assert store.keys() == ["c"]


@pytest.mark.parametrize("key", ["absent", "a", "a/b/c/d"])
def test_reading_what_is_no_object_is_not_found(store: Store, key: str) -> None:
    store.create("a/b/c", b"")
    with pytest.raises(FileNotFoundError):
        store.read(key)


def test_keys_are_sorted_and_begin_with_the_prefix(store: Store) -> None:
    for key in ("ledger/2", "ledger/10", "ledger/sub/1", "ledgers/1", "späť & 100 %+.yaml"):
        store.create(key, b"")
    assert store.keys("ledger/") == ["ledger/10", "ledger/2", "ledger/sub/1"]
    assert store.keys("ledger/1") == ["ledger/10"]
    assert store.keys("ledger") == ["ledger/10", "ledger/2", "ledger/sub/1", "ledgers/1"]
    assert store.keys("s") == ["späť & 100 %+.yaml"]
    assert len(store.keys()) == 5
    assert store.keys("nothing/here") == []


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", ".hidden", "a\\b", "a\0b"]
)
def test_a_key_cannot_leave_the_root_or_have_a_second_spelling(store: Store, key: str) -> None:
    for act in (store.read, store.remove, lambda key: store.create(key, b""), lambda key: store.replace(key, b"")):
        with pytest.raises(ValueError, match="key: must be names"):
            act(key)


def test_of_many_writers_one_wins_and_its_object_is_whole(store: Store) -> None:
    def write(text: bytes) -> bytes | None:
        try:
            store.create("object", text * 1000)
        except FileExistsError:
            return None
        return text * 1000

    with ThreadPoolExecutor(8) as pool:
        winners = [data for data in pool.map(write, [b"%d" % n for n in range(8)]) if data]
    assert winners == [store.read("object")]


@pytest.mark.parametrize("size", [0, 70_000])
def test_files_go_there_and_back(store: Store, tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    put_file(store, "weights/0", tmp_path / "file")
    (tmp_path / "back").write_bytes(b"what was there before")
    get_file(store, "weights/0", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"x" * size
    with pytest.raises(FileNotFoundError):
        get_file(store, "weights/1", tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["back", "file"]


# ---------------------------------------------------------------- the ledger on every store


def test_a_ledger_is_written_merged_and_verified(store: Store) -> None:
    ledger = Ledger(store, load_signer())
    for number in range(5):
        ledger.append("note", {"number": number})
    ledger.compact()
    found = verify(store, verify_signature)
    assert found.entries == 10
    assert found.head == ledger.head == Ledger(store).head
    assert [entry.data["number"] for entry in ledger.entries({"note"})] == [0, 1, 2, 3, 4]


def test_a_second_writer_of_a_ledger_is_fenced(store: Store) -> None:
    first, second = Ledger(store, load_signer()), Ledger(store, load_signer())
    first.append("note", {"by": 1})
    with pytest.raises(FencedError):
        second.append("note", {"by": 2})
    assert [entry.data for entry in first.entries({"note"})] == [{"by": 1}]


def test_a_changed_entry_is_named(store: Store) -> None:
    ledger = Ledger(store, load_signer())
    for number in range(3):
        ledger.append("note", {"number": number})
    key = "ledger/00000002.jsonl"
    store.replace(key, store.read(key).replace(b'"number":1', b'"number":7'))
    with pytest.raises(IntegrityError, match="entry 2") as caught:
        verify(store, verify_signature)
    assert caught.value.entry == 2
