from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nas_core.errors import OutsideError
from nas_core.store import FolderStore, MemoryStore, Store, create_file

Make = Callable[[Path], Store]


@pytest.fixture(params=[FolderStore, lambda _: MemoryStore()], ids=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    make: Make = request.param
    return make(tmp_path / "root")


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(source), None, str(target))

    monkeypatch.setattr(os, "link", link)


def test_what_was_created_is_read_back(store: Store) -> None:
    store.create("ledger/00000000.jsonl", b"bytes\x00\xff")
    assert store.read("ledger/00000000.jsonl") == b"bytes\x00\xff"


@pytest.mark.parametrize("data", [b"first", b"second", b""])
def test_a_key_is_created_once_even_with_equal_data(store: Store, data: bytes) -> None:
    store.create("a", b"first")
    with pytest.raises(FileExistsError):
        store.create("a", data)
    assert store.read("a") == b"first"


def test_replace_overwrites_or_creates(store: Store) -> None:
    store.replace("deep/er/pointer.json", b"1")
    store.replace("deep/er/pointer.json", b"2")
    assert store.read("deep/er/pointer.json") == b"2"
    assert store.keys() == ["deep/er/pointer.json"]


@pytest.mark.parametrize("key", ["absent", "a", "a/b/c/d"])
def test_reading_what_is_no_object_is_not_found(store: Store, key: str) -> None:
    store.create("a/b/c", b"")
    with pytest.raises(FileNotFoundError):
        store.read(key)


def test_keys_are_sorted_and_begin_with_the_prefix(store: Store) -> None:
    for key in ("ledger/2", "ledger/10", "ledger/sub/1", "ledgers/1", "spec.yaml"):
        store.create(key, b"")
    assert store.keys("ledger/") == ["ledger/10", "ledger/2", "ledger/sub/1"]
    assert store.keys("ledger/1") == ["ledger/10"]
    assert store.keys("ledger") == ["ledger/10", "ledger/2", "ledger/sub/1", "ledgers/1"]
    assert len(store.keys()) == 5
    assert store.keys("nothing/here") == []


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", ".hidden", "a\\b", "a\0b"]
)
def test_a_key_cannot_leave_the_root_or_have_a_second_spelling(store: Store, key: str) -> None:
    for act in (store.read, lambda key: store.create(key, b""), lambda key: store.replace(key, b"")):
        with pytest.raises(ValueError, match="key: must be names"):
            act(key)


def test_a_folder_prefix_cannot_leave_the_root(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="key: must be names"):
        FolderStore(tmp_path / "root").keys("../")


def test_leftovers_of_a_killed_writer_are_no_objects(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.create("ledger/1", b"")
    (tmp_path / "ledger" / ".0123.tmp").write_bytes(b"half")
    assert store.keys() == ["ledger/1"]


@pytest.mark.parametrize("links", [True, False])
def test_no_temporary_file_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        without_links(monkeypatch)
    store = FolderStore(tmp_path)
    store.create("a", b"1")
    store.replace("a", b"2")
    with pytest.raises(FileExistsError):
        store.create("a", b"3")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


@pytest.mark.parametrize("links", [True, False])
def test_of_many_writers_one_wins_and_its_object_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        without_links(monkeypatch)
    store = FolderStore(tmp_path)

    def write(text: bytes) -> bytes | None:
        try:
            store.create("object", text * 1000)
        except FileExistsError:
            return None
        return text * 1000

    with ThreadPoolExecutor(8) as pool:
        winners = [data for data in pool.map(write, [b"%d" % n for n in range(8)]) if data]
    assert winners == [store.read("object")]


def test_processes_fence_one_another(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from nas_core.store import FolderStore\n"
        "store = FolderStore(Path(sys.argv[1])); won = 0\n"
        "for n in range(50):\n"
        "    try: store.create(f'objects/{n}', sys.argv[2].encode()); won += 1\n"
        "    except FileExistsError: pass\n"
        "print(won)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    assert sum(int(writer.communicate()[0]) for writer in writers) == 50
    assert len(FolderStore(tmp_path).keys("objects/")) == 50


def test_a_link_whose_answer_was_lost_counts_as_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    FolderStore(tmp_path).create("object", b"data")
    assert FolderStore(tmp_path).read("object") == b"data"


def test_a_file_where_a_folder_has_to_be_is_not_taken_for_a_second_writer(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.create("ledger", b"")
    with pytest.raises(OutsideError, match="a file is where a folder has to be"):
        store.create("ledger/00000000.jsonl", b"")


def test_a_failing_disk_is_an_outside_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutsideError, match=r"cannot write .*No space left on device; check its space"):
        FolderStore(tmp_path).create("object", b"data")
    assert list(tmp_path.iterdir()) == []


def test_permissions_are_those_asked_for(tmp_path: Path) -> None:
    create_file(tmp_path / "secret", b"", mode=0o600)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
