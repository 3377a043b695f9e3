"""A busy, unreliable network between the writers and S3: nothing lost, nothing twice, nobody fenced by himself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.backends.anchors import Anchoring, Anchors
from components.backends.s3_retained import RetainedS3Store
from components.backends.signing import load_signer, verify_signature
from components.backends.store_checkpoints import StoreCheckpoints
from nas_core.errors import FencedError
from nas_core.ledger import Ledger, verify
from tests.chaos.storage_faults import SETTINGS, storage_unreliable, store_at, unreliable
from tests.components.backends.faulty_proxy import FaultyProxy
from tests.components.backends.s3_server import s3_server

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy that spoils a quarter of all requests."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    with unreliable(server, seed=7) as proxy:
        yield proxy


def test_a_search_on_an_unreliable_storage_comes_to_the_same(tmp_path: Path) -> None:
    verdict = storage_unreliable(tmp_path, seed=1)
    assert (verdict.runs, verdict.lost, verdict.duplicated, verdict.invalid) == (1, 0, 0, 0)


def test_objects_are_created_once_by_whoever_was_first(proxy: FaultyProxy, server: str) -> None:
    writers = [store_at(proxy.address, "objects") for _ in range(4)]
    won: list[tuple[int, str]] = []

    def write(writer: int) -> None:
        for number in range(40):
            data = b"%d by %d " % (number, writer) * (300 if number % 5 == 0 else 1)
            try:
                writers[writer].create(f"{number:02d}", data)
            except FileExistsError:
                continue
            won.append((writer, f"{number:02d}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert sorted(key for _, key in won) == [f"{number:02d}" for number in range(40)]
    quiet = store_at(server, "objects")
    for writer, key in won:
        number = int(key)
        assert quiet.read(key) == b"%d by %d " % (number, writer) * (300 if number % 5 == 0 else 1)
        assert writers[writer].read(key) == quiet.read(key)
    assert {"cut after", "cut before", "503"} <= set(proxy.faults())
    for store in (*writers, quiet):
        store.close()


def test_a_ledger_with_its_anchors_is_whole_and_its_writer_is_never_fenced(proxy: FaultyProxy, server: str) -> None:
    store, there = store_at(proxy.address, "runs/one"), store_at(proxy.address, "anchors", RetainedS3Store)

    def opened() -> Anchors:
        return Anchors(there, "one", next(Ledger(store).entries()).hash)

    notes: list[str] = []
    with Anchoring(opened, load_signer(), notes.append, 0.2) as anchoring:
        ledger = Ledger(store, load_signer(), on_commit=anchoring)
        for number in range(60):
            ledger.append("note", {"number": number, "text": "x" * (3000 if number % 10 == 0 else 1)})
            if number % 25 == 24:
                ledger.compact()
    quiet = store_at(server, "runs/one")
    found = verify(quiet, verify_signature)
    assert (found.entries, found.head, found.torn) == (120, ledger.head, None)
    assert [entry.data["number"] for entry in Ledger(quiet).entries({"note"})] == list(range(60))
    hashes = {entry.seq: entry.hash for entry in Ledger(quiet).entries()}
    checked = opened().check(hashes.get, found.head, found.key)
    assert checked.newest
    assert checked.newest.seq == found.head.seq
    assert checked.hidden == ()
    assert notes == []
    for each in (store, there, quiet):
        each.close()


def test_of_two_writers_of_a_ledger_one_is_fenced_and_nothing_of_its_is_there(proxy: FaultyProxy, server: str) -> None:
    stores = [store_at(proxy.address, "runs/two") for _ in range(2)]
    ledgers = [Ledger(store, load_signer()) for store in stores]

    def write(writer: int) -> int:
        for number in range(30):
            try:
                ledgers[writer].append("note", {"writer": writer, "number": number})
            except FencedError:
                return number
        return 30

    with ThreadPoolExecutor(2) as pool:
        written = list(pool.map(write, range(2)))
    quiet = store_at(server, "runs/two")
    assert sorted(written) == [0, 30]
    assert verify(quiet, verify_signature).entries == 60
    assert {entry.data["writer"] for entry in Ledger(quiet).entries({"note"})} == {written.index(30)}
    for store in (*stores, quiet):
        store.close()


def test_checkpoints_arrive_whole(proxy: FaultyProxy, tmp_path: Path) -> None:
    store = store_at(proxy.address, "checkpoints")
    writer, reader = StoreCheckpoints(store, tmp_path / "one"), StoreCheckpoints(store, tmp_path / "two")
    for step in range(12):

        def write(folder: Path, step: int = step) -> None:
            (folder / "weights.safetensors").write_bytes(b"%02d" % step * 3000)
            (folder / "state.json").write_text(str(step))

        writer.save(1, 0, step, write)
        newest = reader.newest(1)
        assert newest
        assert (newest / "weights.safetensors").read_bytes() == b"%02d" % step * 3000
        assert (newest / "state.json").read_text() == str(step)
    store.close()
