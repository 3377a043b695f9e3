from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from components.backends.signing import Ed25519Signer, verify_signature
from nas_core.errors import FencedError, InputError, IntegrityError, OutsideError
from nas_core.ledger import EMPTY, Head, Ledger, verify
from nas_core.store import FolderStore, MemoryStore, Store

SIGNER = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
STRANGER = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))
FIRST, SECOND, THIRD = (f"ledger/{seq:08d}.jsonl" for seq in (0, 3, 5))


def written(signer: Ed25519Signer | None = SIGNER) -> MemoryStore:
    """A ledger of seven lines; sealed, they are entries 0 1 [2], 3 [4], 5 [6]."""
    store = MemoryStore()
    ledger = Ledger(store, signer)
    ledger.commit([("start", {"n": 1}), ("note", {"text": "é\n"})])
    ledger.append("note", {"values": [0.1, None, True]})
    ledger.append("note", {})
    return store


def lines_of(store: Store, key: str) -> list[bytes]:
    return store.read(key).split(b"\n")[:-1]


def put(store: Store, key: str, lines: Sequence[bytes]) -> None:
    store.replace(key, b"".join(line + b"\n" for line in lines))


def chained(lines: Sequence[bytes]) -> list[bytes]:
    """Chain `lines` anew, as somebody would who cannot sign."""
    result = [lines[0]]
    for line in lines[1:]:
        result.append(re.sub(rb'"prev":"[0-9a-f]+"', b'"prev":"%s"' % sha256(result[-1]).encode(), line))
    return result


def sha256(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def first_bad(store: Store, trusted: str | None = None) -> int | None:
    with pytest.raises(IntegrityError) as caught:
        verify(store, verify_signature, trusted)
    assert caught.value.entry is None or f"entry {caught.value.entry}:" in str(caught.value)
    return caught.value.entry


# ---------------------------------------------------------------- writing and reading


def test_a_line_is_chained_to_the_bytes_before_it() -> None:
    store = MemoryStore()
    ledger = Ledger(store, clock=lambda: datetime(2026, 1, 31, 12, tzinfo=UTC))
    first, second = ledger.commit([("start", {"a": (1, 2)}), ("end", {})])
    expected = b'{"seq":0,"prev":"%s","time":"2026-01-31T12:00:00.000000+00:00","kind":"start","data":{"a":[1,2]}}'
    assert lines_of(store, FIRST)[0] == expected % (b"0" * 64)
    assert first.hash == sha256(expected % (b"0" * 64)) == second.prev
    assert first.data == {"a": [1, 2]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
drafts = st.tuples(
    st.from_regex("[a-z][a-z0-9-]{0,8}", fullmatch=True).filter(lambda kind: kind != "seal"),
    st.dictionaries(st.text(), json_values, max_size=4),
)


@given(commits=st.lists(st.lists(drafts, min_size=1, max_size=3), min_size=1, max_size=4), sealed=st.booleans())
def test_entries_are_read_as_they_were_written(commits: list[list[tuple[str, dict[str, Any]]]], sealed: bool) -> None:
    store = MemoryStore()
    given_back = [entry for commit in commits for entry in Ledger(store, SIGNER if sealed else None).commit(commit)]
    read = [entry for entry in Ledger(store).entries() if entry.kind != "seal"]
    assert read == given_back
    assert [(entry.kind, entry.data) for entry in read] == [draft for commit in commits for draft in commit]
    result = verify(store, verify_signature if sealed else None)
    assert result.head == Ledger(store).head
    assert result.entries == len(list(Ledger(store).entries()))


def test_entries_can_be_chosen_by_kind() -> None:
    assert [entry.seq for entry in Ledger(written()).entries({"note"})] == [1, 3, 5]


def test_entries_show_what_another_process_has_written() -> None:
    store = MemoryStore()
    reader = Ledger(store)
    Ledger(store).append("note", {})
    assert [entry.kind for entry in reader.entries()] == ["note"]


@pytest.mark.parametrize("signer", [SIGNER, None])
def test_reading_can_go_on_from_the_end_of_any_commit(signer: Ed25519Signer | None) -> None:
    store = MemoryStore()
    ledger, heads = Ledger(store, signer), [EMPTY]
    for count in (2, 1, 3):
        ledger.commit([("note", {"n": n}) for n in range(count)])
        heads.append(ledger.head)
    whole = list(ledger.entries())
    for head in heads:
        assert list(ledger.entries(after=head)) == whole[head.seq + 1 :]
        assert list(ledger.entries({"note"}, head)) == [e for e in whole[head.seq + 1 :] if e.kind == "note"]


def test_reading_on_checks_the_chain_to_what_was_read_before() -> None:
    store = written()
    first = Ledger(store, SIGNER).head
    Ledger(store, SIGNER).append("note", {"n": 1})
    with pytest.raises(IntegrityError, match="entry 6: changed after it was written"):
        list(Ledger(store).entries(after=Head(first.seq, "0" * 64)))


def test_an_empty_ledger_has_no_entries() -> None:
    assert Ledger(MemoryStore()).head == EMPTY
    assert list(Ledger(MemoryStore()).entries()) == []


def test_an_empty_commit_writes_nothing() -> None:
    store = MemoryStore()
    assert Ledger(store, SIGNER).commit([]) == []
    assert store.keys() == []


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("note", {"loss": float("nan")}),
        ("note", {"deep": [{"loss": float("-inf")}]}),
        ("note", {"path": Path("x")}),
        ("note", {1: "a", "1": "b"}),
        ("seal", {}),
        ("Note", {}),
        ("", {}),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_anything_is_written(kind: str, data: dict[Any, Any]) -> None:
    store = written()
    ledger = Ledger(store, SIGNER)
    before = store.keys(), ledger.head
    with pytest.raises(ValueError, match=r"kind|JSON"):
        ledger.commit([("note", {}), (kind, data)])
    assert (store.keys(), ledger.head) == before


class Counting(MemoryStore):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def create(self, key: str, data: bytes) -> None:
        self.asked.append("create")
        super().create(key, data)

    def read(self, key: str) -> bytes:
        self.asked.append("read")
        return super().read(key)

    def keys(self, prefix: str = "") -> Sequence[str]:
        self.asked.append(f"keys {prefix}")
        return super().keys(prefix)


def test_a_commit_writes_one_object_and_opening_reads_one_however_long_the_ledger() -> None:
    store = Counting()
    ledger = Ledger(store, SIGNER)
    for _ in range(50):
        ledger.append("note", {})
    store.asked.clear()
    ledger.append("note", {})
    assert store.asked == ["create", "keys ledger/compacted/"]  # whether it was fenced by what has been merged
    store.asked.clear()
    assert Ledger(store, SIGNER).head == ledger.head
    assert store.asked == ["keys ledger/", "read"]


def test_reading_on_reads_what_is_new_and_lists_no_commits() -> None:
    store = Counting()
    ledger = Ledger(store, SIGNER)
    for _ in range(50):
        ledger.append("note", {})
    head = ledger.head
    ledger.append("note", {})
    store.asked.clear()
    assert len(list(ledger.entries(after=head))) == 2
    # The new object, and the one after it, which is not there, nor merged with others.
    assert store.asked == ["read", "read", "keys ledger/compacted/"]


def test_objects_are_in_the_order_of_their_numbers_beyond_eight_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    ledger = Ledger(store)
    monkeypatch.setattr(ledger, "_head", EMPTY._replace(seq=99_999_998))
    ledger.append("note", {})
    ledger.append("note", {})
    assert store.keys() == ["ledger/100000000.jsonl", "ledger/99999999.jsonl"]
    assert Ledger(store).head == ledger.head


# ---------------------------------------------------------------- one writer, one key


def test_the_second_of_two_writers_is_fenced_and_stays_so(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    one, two = Ledger(store, SIGNER), Ledger(store, SIGNER)
    one.append("note", {"by": "one"})
    for _ in range(2):
        with pytest.raises(FencedError, match="another process has written entry 0"):
            two.append("note", {"by": "two"})
        one.append("note", {"by": "one"})
    assert {entry.data["by"] for entry in Ledger(store).entries({"note"})} == {"one"}
    verify(store, verify_signature)


def test_a_commit_that_the_storage_refused_can_be_tried_again() -> None:
    class Failing(MemoryStore):
        full = True

        def create(self, key: str, data: bytes) -> None:
            if self.full:
                raise OutsideError("storage: full")
            super().create(key, data)

    store = Failing()
    ledger = Ledger(store, SIGNER)
    with pytest.raises(OutsideError):
        ledger.append("note", {})
    store.full = False
    assert ledger.append("note", {}).seq == 0
    verify(store, verify_signature)


@pytest.mark.parametrize(("began", "goes_on"), [(SIGNER, STRANGER), (SIGNER, None), (None, SIGNER)])
def test_a_ledger_is_sealed_by_one_key_or_not_at_all(
    began: Ed25519Signer | None, goes_on: Ed25519Signer | None
) -> None:
    store = written(began)
    ledger = Ledger(store, goes_on)
    before = store.keys()
    with pytest.raises(InputError, match="use the key that the ledger began with"):
        ledger.append("note", {})
    assert store.keys() == before
    assert len(list(ledger.entries({"note"}))) == 3


# ---------------------------------------------------------------- verification


def test_a_valid_ledger_is_described() -> None:
    store = written()
    result = verify(store, verify_signature, SIGNER.fingerprint)
    assert (result.entries, result.head, result.key) == (7, Ledger(store).head, SIGNER.fingerprint)
    assert verify(store, None).key is None


def test_every_changed_byte_is_found_and_its_entry_named() -> None:
    store = written()
    for key, first in ((FIRST, 0), (SECOND, 3), (THIRD, 5)):
        original = store.read(key)
        for place, bit in itertools.product(range(len(original)), (0, 1, 5)):  # 5: upper and lower case
            changed = bytearray(original)
            changed[place] ^= 1 << bit
            store.replace(key, bytes(changed))
            assert first_bad(store) == first + original[:place].count(b"\n"), (key, place, bit)
        store.replace(key, original)
    verify(store, verify_signature)


def test_without_seals_the_changed_line_or_its_successor_is_named_and_the_last_stands_alone() -> None:
    store = written(signer=None)
    for key, first in (("ledger/00000000.jsonl", 0), ("ledger/00000002.jsonl", 2)):
        original = store.read(key)
        for place in range(len(original)):
            changed = bytearray(original)
            changed[place] ^= 1
            store.replace(key, bytes(changed))
            with pytest.raises(IntegrityError) as caught:
                verify(store, None)
            entry = first + original[:place].count(b"\n")
            assert caught.value.entry in (entry, entry + 1)
        store.replace(key, original)
    store.replace("ledger/00000003.jsonl", store.read("ledger/00000003.jsonl").replace(b"{}", b'{"a":1}'))
    verify(store, None)


def delete_line(store: Store) -> None:
    put(store, FIRST, lines_of(store, FIRST)[:1] + lines_of(store, FIRST)[2:])


def delete_seal(store: Store) -> None:
    put(store, FIRST, lines_of(store, FIRST)[:2])


def delete_line_and_chain(store: Store) -> None:
    one, _, seal = lines_of(store, FIRST)
    put(store, FIRST, chained([one, seal.replace(b'"seq":2', b'"seq":1')]))


def repeat_line(store: Store) -> None:
    one, two, seal = lines_of(store, FIRST)
    put(store, FIRST, [one, two, two, seal])


def swap_lines(store: Store) -> None:
    one, two, seal = lines_of(store, FIRST)
    put(store, FIRST, [two, one, seal])


def swap_objects(store: Store) -> None:
    one, two = store.read(FIRST), store.read(SECOND)
    store.replace(FIRST, two)
    store.replace(SECOND, one)


def cut_object(store: Store) -> None:
    store.replace(SECOND, store.read(SECOND)[:-20])


def empty_object(store: Store) -> None:
    store.replace(SECOND, b"")


def change_and_chain(store: Store) -> None:
    one, two, seal = lines_of(store, FIRST)
    put(store, FIRST, chained([one, two.replace(b"text", b"test"), seal]))


def change_and_chain_all(store: Store) -> None:
    lines = [line for key in (FIRST, SECOND, THIRD) for line in lines_of(store, key)]
    lines = chained([lines[0].replace(b'"n":1', b'"n":2'), *lines[1:]])
    for key, part in ((FIRST, lines[:3]), (SECOND, lines[3:5]), (THIRD, lines[5:])):
        put(store, key, part)


def other_spelling(store: Store) -> None:
    one, two, seal = lines_of(store, FIRST)
    put(store, FIRST, chained([one, two.replace(b'"text":', b'"text": '), seal]))


def other_branch(store: Store) -> None:
    fork = MemoryStore()
    fork.create(FIRST, store.read(FIRST))
    ledger = Ledger(fork, SIGNER)
    ledger.append("note", {"values": [0.2]})
    store.replace(SECOND, fork.read(SECOND))


def seal_with_another_key(store: Store) -> None:
    other = MemoryStore()
    Ledger(other, STRANGER).append("note", {})
    seal = lines_of(other, FIRST)[1]
    one, two, _ = lines_of(store, FIRST)
    put(store, FIRST, chained([one, two, seal.replace(b'"seq":1', b'"seq":2')]))


@pytest.mark.parametrize(
    ("tamper", "entry"),
    [
        (delete_line, 1),
        (delete_seal, 1),
        (delete_line_and_chain, 1),
        (repeat_line, 2),
        (swap_lines, 0),
        (swap_objects, 0),
        (cut_object, 4),
        (empty_object, 3),
        (change_and_chain, 2),
        (change_and_chain_all, 2),
        (other_spelling, 1),
        (other_branch, 5),
        (seal_with_another_key, 2),
    ],
)
def test_tampering_is_found_and_the_first_bad_entry_named(tamper: Callable[[Store], None], entry: int) -> None:
    store = written()
    tamper(store)
    assert first_bad(store) == entry


def rebuilt(store: Store, *, without: str = "", moved: dict[str, str] | None = None) -> MemoryStore:
    copy = MemoryStore()
    for key in store.keys("ledger/"):
        if key != without:
            copy.create((moved or {}).get(key, key), store.read(key))
    return copy


@pytest.mark.parametrize(("key", "entry"), [(FIRST, 0), (SECOND, 3)])
def test_a_missing_object_is_named_by_its_first_entry(key: str, entry: int) -> None:
    assert first_bad(rebuilt(written(), without=key)) == entry


def test_missing_objects_at_the_end_show_only_in_the_head() -> None:
    whole = written()
    cut = rebuilt(whole, without=THIRD)
    assert verify(cut, verify_signature).head != verify(whole, verify_signature).head


def test_a_renamed_object_is_a_gap() -> None:
    assert first_bad(rebuilt(written(), moved={SECOND: "ledger/00000004.jsonl"})) == 3


def test_an_object_inside_anothers_range_is_named() -> None:
    store = written()
    store.create("ledger/00000001.jsonl", store.read(SECOND))
    assert first_bad(store) == 1


@pytest.mark.parametrize("key", ["ledger/notes.txt", "ledger/0.jsonl", "ledger/000000007.jsonl", "ledger/sub/1.jsonl"])
def test_a_file_that_is_no_object_is_named(key: str) -> None:
    store = written()
    store.create(key, b"")
    with pytest.raises(IntegrityError, match=re.escape(key)):
        verify(store, verify_signature)


def test_a_ledger_that_is_gone_is_not_valid() -> None:
    assert first_bad(MemoryStore()) == 0


def test_another_writers_whole_ledger_is_found_by_its_key() -> None:
    store = written(STRANGER)
    verify(store, verify_signature)
    assert first_bad(store, trusted=SIGNER.fingerprint) == 2


def test_a_commit_by_a_second_key_is_found_without_knowing_the_first() -> None:
    store = written()
    ledger = Ledger(store, STRANGER)
    ledger._sealed_by = STRANGER.fingerprint
    ledger.append("note", {})
    assert first_bad(store) == 8


def test_stripped_of_its_seals_a_ledger_is_not_valid() -> None:
    assert first_bad(written(signer=None)) == 1


@pytest.mark.parametrize(
    "data", [b'{"deep":' + b"[" * 100_000, b'{"big":1e999}', b'{"a":1,"a":2}', b'{"n":' + b"9" * 5000 + b"}", b"{}{}"]
)
def test_hostile_json_is_a_bad_entry(data: bytes) -> None:
    store = MemoryStore()
    head = b'{"seq":0,"prev":"%s","time":"2026-01-31T12:00:00.000000+00:00","kind":"note","data":' % (b"0" * 64)
    put(store, FIRST, [head + data + b"}"])
    with pytest.raises(IntegrityError) as caught:
        verify(store, None)
    assert caught.value.entry == 0


def test_the_format_can_be_checked_by_a_short_script_of_ones_own(tmp_path: Path) -> None:
    """What the description in `nas_core.chain` says, with none of its code."""
    store = FolderStore(tmp_path)
    ledger = Ledger(store, SIGNER)
    for number in range(3):
        ledger.append("note", {"number": number})

    prev, count, key = "0" * 64, 0, hashlib.sha256(SIGNER.public_key).hexdigest()
    ledger.compact()
    ledger.append("note", {"number": 3})
    found = sorted((tmp_path / "ledger").rglob("*.jsonl"), key=lambda path: int(path.stem.partition("-")[0]))
    assert len(found) == 3  # what is merged, the newest commit then, and the one since
    for path in found:
        assert int(path.stem.partition("-")[0]) == count
        for line in path.read_bytes().splitlines():
            entry = json.loads(line)
            assert (entry["seq"], entry["prev"]) == (count, prev)
            prev, count = hashlib.sha256(line).hexdigest(), count + 1
        assert entry["kind"] == "seal"
        public_key = base64.b64decode(entry["data"]["public_key"])
        assert hashlib.sha256(public_key).hexdigest() == entry["data"]["key"] == key
        message = re.sub(rb',"signature":"[^"]{88}"', b"", line)
        Ed25519PublicKey.from_public_bytes(public_key).verify(base64.b64decode(entry["data"]["signature"]), message)
    assert (count - 1, prev) == Ledger(store).head


# ---------------------------------------------------------------- merging commits


def long(commits: int = 12) -> tuple[Counting, Ledger]:
    store = Counting()
    ledger = Ledger(store, SIGNER)
    for number in range(commits):
        ledger.append("note", {"number": number})
    return store, ledger


def test_merging_leaves_the_same_entries_in_few_objects() -> None:
    store, ledger = long()
    before, head = list(ledger.entries()), ledger.head
    ledger.compact()
    assert store.keys("ledger/") == ["ledger/00000022.jsonl", "ledger/compacted/00000000-00000021.jsonl"]
    assert list(ledger.entries()) == before
    assert Ledger(store, SIGNER).head == head == verify(store, verify_signature).head
    ledger.append("note", {"number": 12})
    ledger.append("note", {"number": 13})
    ledger.compact()
    assert len(store.keys("ledger/compacted/")) == 2
    assert [e.data["number"] for e in Ledger(store).entries({"note"})] == list(range(14))


def test_a_merged_object_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_core.segments._MOST_BYTES", 3000)
    store, ledger = long(20)
    ledger.compact()
    merged = store.keys("ledger/compacted/")
    assert len(merged) > 2
    assert all(len(store.read(key)) <= 3000 for key in merged)
    assert verify(store, verify_signature).entries == 40


def test_a_reader_goes_on_from_any_commit_that_was_merged_meanwhile() -> None:
    _, ledger = long()
    heads = [Head(entry.seq, entry.hash) for entry in ledger.entries({"seal"})]
    expected = {head: list(ledger.entries(after=head)) for head in heads}
    reading = ledger.entries()
    first = next(reading)
    ledger.compact()
    assert [first, *reading] == list(ledger.entries())
    for head in heads:
        assert list(ledger.entries(after=head)) == expected[head]


def test_a_writer_that_slept_through_a_merger_is_fenced_though_its_name_is_free_again() -> None:
    store, ledger = long(3)
    sleeper = Ledger(store, SIGNER)
    for _ in range(4):
        ledger.append("note", {"number": 0})
    ledger.compact()
    before = {key: store.read(key) for key in store.keys("")}
    with pytest.raises(FencedError, match="another process has written entry 6"):
        sleeper.append("note", {"number": -1})
    assert {key: store.read(key) for key in store.keys("")} == before


@pytest.mark.parametrize("removals", range(12))
def test_a_merger_interrupted_anywhere_is_finished_by_the_next(removals: int) -> None:
    class Dying(Counting):
        left = removals

        def remove(self, *keys: str) -> None:
            super().remove(*keys[: self.left])
            if len(keys) > self.left:
                self.left = 0
                raise OutsideError("storage: gone")
            self.left -= len(keys)

    whole, _ = long()
    store = Dying()
    for key in whole.keys(""):
        store.create(key, whole.read(key))
    ledger = Ledger(store, SIGNER)
    if removals < 11:
        with pytest.raises(OutsideError):
            ledger.compact()
    assert verify(store, verify_signature).head == ledger.head
    store.left = 100
    ledger.append("note", {"number": 12})
    ledger.compact()
    assert len(store.keys("ledger/compacted/")) == 1
    assert [e.data["number"] for e in Ledger(store).entries({"note"})] == list(range(13))
    verify(store, verify_signature)


def test_what_is_merged_is_as_tamper_proof_as_what_is_not() -> None:
    store, ledger = long(4)
    ledger.compact()
    [key] = store.keys("ledger/compacted/")
    original = store.read(key)
    for place in range(0, len(original), 7):
        changed = bytes([original[place] ^ 1])
        store.replace(key, original[:place] + changed + original[place + 1 :])
        assert first_bad(store) == original[:place].count(b"\n"), place
    store.replace(key, original[: original.rindex(b"\n", 0, -1) + 1])
    assert first_bad(store) in (4, 5)
    store.remove(key)
    assert first_bad(store) == 0
    store.replace(key, original)
    store.create("ledger/00000002.jsonl", original)
    assert first_bad(store) == 2


# ---------------------------------------------------------------- torn objects


@pytest.mark.parametrize("left", [0, 1, 40, 100, -2, -1])
@pytest.mark.parametrize("signer", [SIGNER, None])
def test_a_torn_newest_object_is_set_aside_and_said(signer: Ed25519Signer | None, left: int) -> None:
    store = written(signer)
    newest = store.keys("ledger/")[-1]
    torn = store.read(newest)[:left]
    store.replace(newest, torn)
    before = list(Ledger(store).entries())
    assert verify(store, verify_signature if signer else None).torn == newest
    ledger = Ledger(store, signer)
    assert list(ledger.entries()) == before
    ledger.append("note", {"text": "later"})
    [said] = ledger.entries({"recovered"})
    assert (said.data["object"], said.data["bytes"], said.data["sha256"]) == (newest, len(torn), sha256(torn))
    assert store.read(said.data["aside"]) == torn
    found = verify(store, verify_signature if signer else None)
    assert (found.torn, found.head) == (None, ledger.head)
    assert list(ledger.entries())[: len(before)] == before


def test_what_is_known_elsewhere_is_not_torn_but_missing() -> None:
    store = written()
    store.replace(THIRD, store.read(THIRD)[:50])
    with pytest.raises(IntegrityError, match="entry 5: missing, though entries up to 6 were anchored"):
        Ledger(store, SIGNER, anchored=6)
    assert Ledger(store, SIGNER, anchored=4).head.seq == 4


def test_who_wants_to_know_is_told_each_new_head() -> None:
    heads: list[Head] = []
    ledger = Ledger(MemoryStore(), SIGNER, on_commit=heads.append)
    ledger.append("note", {})
    ledger.commit([("note", {}), ("note", {})])
    assert [head.seq for head in heads] == [1, 4]
    assert heads[-1] == ledger.head


# ---------------------------------------------------------------- a writer that is killed


def write_until_killed(folder: str) -> None:
    ledger = Ledger(FolderStore(Path(folder)), SIGNER)
    while True:
        ledger.commit([("note", {"text": "x" * 1000}), ("note", {})])


def test_a_writer_killed_at_any_moment_leaves_a_valid_ledger(tmp_path: Path) -> None:
    rng = random.Random(7)
    store = FolderStore(tmp_path)
    known = 0
    for _ in range(4):
        with subprocess.Popen([sys.executable, __file__, str(tmp_path)]) as writer:
            deadline = time.monotonic() + 60
            while len(store.keys("ledger/")) < known + 5 and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(rng.random() / 50)
            writer.send_signal(signal.SIGKILL)
        result = verify(store, verify_signature, SIGNER.fingerprint)
        assert result.entries == 3 * len(store.keys("ledger/"))
        assert len(store.keys("ledger/")) >= known + 5
        known = len(store.keys("ledger/"))


if __name__ == "__main__":
    write_until_killed(sys.argv[1])
