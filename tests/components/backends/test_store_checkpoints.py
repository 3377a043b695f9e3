"""Checkpoints in a store: as in a folder, for workers that share none."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.backends.store_checkpoints import StoreCheckpoints
from nas_core.errors import OutsideError
from nas_core.store import FolderStore, MemoryStore, Store


@pytest.fixture(params=["memory", "folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "folder":
        return FolderStore(tmp_path / "shared")
    found: Store = request.getfixturevalue("s3_store")
    return found


@pytest.fixture
def one(store: Store, tmp_path: Path) -> StoreCheckpoints:
    """As one machine sees them."""
    return StoreCheckpoints(store, tmp_path / "one")


@pytest.fixture
def two(store: Store, tmp_path: Path) -> StoreCheckpoints:
    """As another does."""
    return StoreCheckpoints(store, tmp_path / "two")


def writes(text: str, more: int = 0) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "weights").mkdir()
        (folder / "weights" / "0").write_text(text)
        for number in range(more):
            (folder / f"extra-{number}").write_text(text)
        (folder / "state.json").write_text("{}")

    return write


def content(path: Path | None) -> str:
    assert path is not None
    assert (path / "state.json").read_text() == "{}"
    return (path / "weights" / "0").read_text()


def folders(store: Store) -> set[str]:
    return {key.split("/")[2] for key in store.keys("weights/")}


def test_there_is_none_at_first(one: StoreCheckpoints, store: Store) -> None:
    assert one.newest(3) is None
    one.keep({1})
    assert store.keys() == []


def test_the_newest_is_whole_the_only_one_and_reaches_another_machine(
    one: StoreCheckpoints, two: StoreCheckpoints, store: Store
) -> None:
    one.save(3, 0, 9, writes("nine"))
    assert content(two.newest(3)) == "nine"
    one.save(3, 0, 10, writes("ten"))
    assert content(two.newest(3)) == "ten"
    assert folders(store) == {"0-10"}


def test_a_later_attempt_counts_more_than_a_later_step(one: StoreCheckpoints, two: StoreCheckpoints) -> None:
    one.save(3, 0, 100, writes("old"))
    one.save(3, 1, 2, writes("new"))
    one.save(3, 10, 1, writes("newest"))
    assert content(two.newest(3)) == "newest"


def test_an_older_attempt_neither_hides_nor_removes_a_newer_ones(
    one: StoreCheckpoints, two: StoreCheckpoints, store: Store
) -> None:
    one.save(3, 1, 2, writes("new"))
    two.save(3, 0, 100, writes("orphan"))
    assert content(two.newest(3)) == "new"
    assert folders(store) == {"1-2"}


def test_an_orphan_that_was_saving_meanwhile_hides_nothing(
    one: StoreCheckpoints, two: StoreCheckpoints, store: Store
) -> None:
    def late(folder: Path) -> None:
        one.save(3, 1, 2, writes("new"))
        writes("orphan")(folder)

    two.save(3, 0, 100, late)
    assert content(two.newest(3)) == "new"
    assert folders(store) == {"0-100", "1-2"}
    one.save(3, 1, 3, writes("next"))
    assert folders(store) == {"1-3"}


def test_without_its_state_it_does_not_count(one: StoreCheckpoints, store: Store) -> None:
    one.save(3, 0, 1, writes("one"))
    store.create("weights/3/0-2/weights/0", b"killed on the way")
    store.create("weights/3/0-2/files.json", b"{}")
    assert content(one.newest(3)) == "one"
    one.save(3, 0, 3, writes("three"))
    assert folders(store) == {"0-3"}


def test_one_that_breaks_off_leaves_the_one_before_and_can_be_written_again(
    one: StoreCheckpoints, two: StoreCheckpoints, store: Store, tmp_path: Path
) -> None:
    one.save(3, 0, 1, writes("one"))

    def breaks_off(folder: Path) -> None:
        (folder / "state.json").write_text("{}")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutsideError, match=r"cannot write a checkpoint to .*No space left on device"):
        one.save(3, 0, 2, breaks_off)
    assert folders(store) == {"0-1"}
    assert list((tmp_path / "one").glob(".save-*")) == []
    assert content(two.newest(3)) == "one"
    one.save(3, 0, 2, writes("two"))
    assert content(two.newest(3)) == "two"


def test_the_same_step_of_an_attempt_may_be_saved_again(one: StoreCheckpoints, two: StoreCheckpoints) -> None:
    one.save(3, 0, 1, writes("one", more=2))
    first = two.newest(3)
    assert first
    assert (first / "extra-1").exists()
    one.save(3, 0, 1, writes("again", more=1))
    second = two.newest(3)
    assert content(second) == "again"
    assert second
    assert not (second / "extra-1").exists()


class Breaking(MemoryStore):
    """Fails at the key that ends with `at`."""

    at = ""

    def replace(self, key: str, data: bytes) -> None:
        if self.at and key.endswith(self.at):
            raise OutsideError("down")
        super().replace(key, data)


@pytest.mark.parametrize("at", ["weights/0", "files.json", "state.json"])
def test_saving_a_step_again_that_breaks_off_leaves_nothing_torn(tmp_path: Path, at: str) -> None:
    store = Breaking()
    checkpoints = StoreCheckpoints(store, tmp_path)
    checkpoints.save(3, 0, 1, writes("one"))
    store.at = at
    with pytest.raises(OutsideError, match="down"):
        checkpoints.save(3, 0, 1, writes("two"))
    assert checkpoints.newest(3) is None
    store.at = ""
    checkpoints.save(3, 0, 1, writes("two"))
    assert content(checkpoints.newest(3)) == "two"


def test_only_the_checkpoints_that_are_kept_are_left(one: StoreCheckpoints, store: Store, tmp_path: Path) -> None:
    for number in (1, 2, 10):
        one.save(number, 0, 1, writes(str(number)))
        one.newest(number)
    store.create("weights/README", b"")
    store.create("ledger/00000000.jsonl", b"")
    one.keep({2, 3})
    assert {key.split("/")[1] for key in store.keys("weights/")} == {"2", "README"}
    assert store.read("ledger/00000000.jsonl") == b""
    assert [path.name for path in (tmp_path / "one" / "weights").iterdir()] == ["2"]
    assert content(one.newest(2)) == "2"


class Counting(MemoryStore):
    """Tells what was read; something may happen at a read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.at_read: Iterator[Callable[[], None]] = iter(())

    def read(self, key: str) -> bytes:
        self.reads.append(key)
        for act in self.at_read:
            act()
            break
        return super().read(key)


def test_what_was_fetched_is_not_fetched_again(tmp_path: Path) -> None:
    store = Counting()
    checkpoints = StoreCheckpoints(store, tmp_path / "cache")
    checkpoints.save(3, 0, 1, writes("one"))
    first = checkpoints.newest(3)
    store.reads.clear()
    assert checkpoints.newest(3) == first
    assert store.reads == ["weights/3/0-1/files.json"]
    checkpoints.save(3, 0, 2, writes("two"))
    checkpoints.newest(3)
    assert [path.name for path in (tmp_path / "cache" / "weights" / "3").iterdir()] == ["0-2"]


@pytest.mark.parametrize("reads", [0, 1, 2, 3])
def test_one_that_is_replaced_while_it_is_fetched_gives_way_to_the_later(tmp_path: Path, reads: int) -> None:
    store = Counting()
    writer, reader = StoreCheckpoints(store, tmp_path / "one"), StoreCheckpoints(store, tmp_path / "two")
    writer.save(3, 0, 1, writes("one"))
    nothing: Callable[[], None] = lambda: None  # noqa: E731
    store.at_read = iter([*[nothing] * reads, lambda: writer.save(3, 0, 2, writes("two"))])
    assert content(reader.newest(3)) == ("one" if reads == 3 else "two")
    assert content(reader.newest(3)) == "two"


def test_bytes_that_are_not_those_that_were_saved_are_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    checkpoints = StoreCheckpoints(store, tmp_path)
    checkpoints.save(3, 0, 1, writes("one"))
    store.replace("weights/3/0-1/weights/0", b"two")
    with pytest.raises(OutsideError, match="checkpoint of trial 3: its files are not what was saved"):
        checkpoints.newest(3)
    assert list(tmp_path.rglob("0")) == []


def test_they_may_be_sent_to_a_worker(s3_store: Store, tmp_path: Path) -> None:
    StoreCheckpoints(s3_store, tmp_path / "one").save(3, 0, 1, writes("one"))
    sent = pickle.loads(pickle.dumps(StoreCheckpoints(s3_store, tmp_path / "two")))  # noqa: S301 - our own bytes
    assert content(sent.newest(3)) == "one"
