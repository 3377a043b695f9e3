"""What is particular to S3: errors, encryption, parts, and networks that lose answers."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.backends.s3 import S3Store
from components.backends.signing import load_signer, verify_signature
from nas_core.errors import FencedError, InputError, OutsideError
from nas_core.ledger import Ledger, verify
from tests.components.backends.faulty_proxy import FaultyProxy
from tests.components.backends.s3_server import PAGE

SMALL, LARGE = b"data", b"many " * 1000
"""The store behind the proxy sends the second in parts."""


Head = Callable[[S3Store, str], dict[str, Any]]
Unfinished = Callable[[S3Store], list[Any]]


@pytest.fixture
def head_of(s3_client: Any) -> Head:
    """Returns what the server tells of an object."""
    return lambda store, key: dict(s3_client.head_object(Bucket=store.bucket, Key=store.prefix + key))


@pytest.fixture
def unfinished(s3_client: Any) -> Unfinished:
    """Returns the uploads in parts that were neither joined nor given up."""
    return lambda store: list(s3_client.list_multipart_uploads(Bucket=store.bucket).get("Uploads", ()))


# ---------------------------------------------------------------- the ordinary


def test_more_keys_than_a_page_holds_are_listed(s3_store: S3Store) -> None:
    names = [f"many/{number:03d}" for number in range(2 * PAGE + 5)]
    for name in names:
        s3_store.replace(name, b"")
    assert s3_store.keys("many/") == names


def test_names_with_a_dot_before_them_are_no_objects(s3_store: S3Store, head_of: Head) -> None:
    s3_store.create("a", b"")
    assert S3Store(s3_store.bucket).keys("some/") == ["some/where/a"]
    assert head_of(s3_store, ".conditional")["ContentLength"] == 0


def test_a_file_in_many_parts_comes_back_whole(
    s3_store: S3Store, tmp_path: Path, head_of: Head, unfinished: Unfinished
) -> None:
    store = S3Store(s3_store.bucket, multipart=1)
    data = bytes(range(256)) * (35 * 2**12)  # 35 MiB: three parts
    (tmp_path / "file").write_bytes(data)
    store.put_file("weights", tmp_path / "file")
    assert head_of(store, "weights")["ETag"].endswith('-3"')
    store.get_file("weights", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert unfinished(store) == []


def test_a_store_may_be_pickled_after_use(s3_store: S3Store) -> None:
    s3_store.create("a", b"1")
    store = pickle.loads(pickle.dumps(s3_store))  # noqa: S301 - our own bytes
    assert store.read("a") == b"1"
    store.close()
    assert repr(store) == f"S3Store('s3://{s3_store.bucket}/some/where/')"


def test_a_closed_store_opens_again(s3_store: S3Store) -> None:
    s3_store.create("a", b"1")
    s3_store.close()
    s3_store.close()
    assert s3_store.read("a") == b"1"


@pytest.mark.parametrize(
    ("asked", "encryption", "key"),
    [
        ("AES256", "AES256", None),
        ("aws:kms", "aws:kms", None),
        ("aws:kms:arn:aws:kms:eu-west-1:1:key/k", "aws:kms", "arn:aws:kms:eu-west-1:1:key/k"),
    ],
)
@pytest.mark.parametrize("multipart", [1, 1000])
def test_encryption_by_the_server_is_asked_for(
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    head_of: Head,
    asked: str,
    encryption: str,
    key: str | None,
    multipart: int,
) -> None:
    monkeypatch.setenv("EVERNAS_S3_SSE", asked)
    store = S3Store(bucket, multipart=multipart)
    store.create("a", b"12")
    store.replace("b", b"12")
    for name in ("a", "b"):
        assert head_of(store, name)["ServerSideEncryption"] == encryption
        assert head_of(store, name).get("SSEKMSKeyId") == key


@pytest.mark.parametrize("asked", ["aes256", "kms", "aws:kms:", "aws:", "yes"])
def test_another_encryption_is_refused(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setenv("EVERNAS_S3_SSE", asked)
    with pytest.raises(InputError, match="EVERNAS_S3_SSE: must be AES256, aws:kms or aws:kms:<key id>, got"):
        S3Store("bucket")


def test_more_are_removed_than_a_request_may_name(s3_store: S3Store) -> None:
    s3_store.create("0500", b"")
    s3_store.create("1500", b"")
    s3_store.remove(*(f"{number:04d}" for number in range(1600)))
    assert s3_store.keys() == []


# ---------------------------------------------------------------- what cannot be done is said


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_is_not_there_is_named() -> None:
    store = S3Store("no-such-bucket", "x")
    for act in (lambda: store.create("a", b""), lambda: store.read("a"), store.keys, lambda: store.replace("a", b"")):
        with pytest.raises(OutsideError, match=r"s3://no-such-bucket/x/.*: there is no such bucket; make it"):
            act()


def test_without_credentials_their_places_are_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(OutsideError, match=r"cannot read s3://.*: Unable to locate credentials; set AWS_ACCESS_KEY_ID"):
        S3Store(bucket).read("a")


def test_a_profile_that_is_not_there_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(OutsideError, match=r"profile \(absent\) could not be found; set AWS_ACCESS_KEY_ID"):
        S3Store(bucket).read("a")


def test_one_that_may_not_be_removed_is_told(new_bucket: Callable[..., str], s3_client: Any) -> None:
    store = S3Store(new_bucket(), "x")
    policy = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject"}
    for key in ("free", "held"):
        store.create(key, b"")
    resource = f"arn:aws:s3:::{store.bucket}/x/held"
    document = {"Version": "2012-10-17", "Statement": [{**policy, "Resource": resource}]}
    s3_client.put_bucket_policy(Bucket=store.bucket, Policy=json.dumps(document))
    with pytest.raises(OutsideError, match=r"cannot remove .*x/free and others: access denied"):
        store.remove("free", "held")
    assert store.keys() == ["held"]
    store.close()


@pytest.mark.usefixtures("s3")
def test_a_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(OutsideError, match=r"no answer .*127\.0\.0\.1:9.*check the network and AWS_ENDPOINT_URL_S3"):
        S3Store("bucket", attempts=2).read("a")


@pytest.mark.usefixtures("s3")
def test_an_endpoint_that_is_no_address_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "minio 9000")
    with pytest.raises(InputError, match="check AWS_ENDPOINT_URL_S3"):
        S3Store("bucket").read("a")


def test_access_denied_says_which_permissions_are_needed(faulty_store: S3Store, proxy: FaultyProxy) -> None:
    proxy.plan = lambda _method, _path: "403"
    with pytest.raises(
        OutsideError, match=r"cannot write .*/some/where/a: access denied; .*s3:PutObject.*AccessDenied"
    ):
        faulty_store.create("a", b"")


def test_a_server_that_ignores_conditions_is_found_out(bucket: str) -> None:
    store = S3Store(bucket)
    store._client.meta.events.register(  # as if the server did not know the header
        "before-sign.s3.PutObject", lambda request, **_: request.headers.__delitem__("If-None-Match")
    )
    with pytest.raises(OutsideError, match=r"ignores `If-None-Match: .`, so it cannot keep two writers apart"):
        store.create("a", b"")
    assert store.keys() == []
    store.close()


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["whole", "parts"])
@pytest.mark.parametrize("fault", ["503", "409", "cut before", "cut after"])
def test_a_write_survives_a_fault_at_any_of_its_requests(
    faulty_store: S3Store, proxy: FaultyProxy, data: bytes, fault: str
) -> None:
    faulty_store.create("first", b"")
    requests = 1 if data == SMALL else 3
    for number in range(requests):
        proxy.plan_once(*[""] * number, fault)
        faulty_store.create(f"new/{number}", data)
        proxy.plan_once(*[""] * number, fault)
        faulty_store.replace(f"old/{number}", data)
        for key in (f"new/{number}", f"old/{number}"):
            assert faulty_store.read(key) == data
        with pytest.raises(FileExistsError):
            faulty_store.create(f"new/{number}", data)
    assert proxy.faults() == [fault] * 2 * requests


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["whole", "parts"])
def test_a_lost_answer_does_not_make_anothers_object_ours(
    faulty_store: S3Store, proxy: FaultyProxy, data: bytes
) -> None:
    """Not even one with equal bytes: the other has been told that it was first."""
    faulty_store.create("first", b"")
    other = S3Store(faulty_store.bucket, "some/where")
    requests: list[str] = []

    def plan(method: str, path: str) -> str:
        if method in ("PUT", "POST") and "partNumber" not in path and not path.endswith("uploads"):
            requests.append(path)
            if len(requests) == 1:
                other.create("a", data)
                return "cut after"
        return ""

    proxy.plan = plan
    with pytest.raises(FileExistsError):
        faulty_store.create("a", data)
    assert len(requests) >= 2
    other.close()


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["whole", "parts"])
def test_when_nothing_gets_through_it_is_an_outside_error_and_nothing_is_there(
    faulty_store: S3Store, proxy: FaultyProxy, data: bytes
) -> None:
    faulty_store.create("first", b"")
    faulty_store._attempts = 2
    faulty_store.close()
    proxy.plan = lambda _method, _path: "cut before"
    for act in (faulty_store.create, faulty_store.replace):
        with pytest.raises(OutsideError, match="no answer"):
            act("a", data)
    other = S3Store(faulty_store.bucket, "some/where")
    assert other.keys() == ["first"]
    other.close()


@pytest.mark.parametrize("new", [True, False])
def test_an_upload_that_a_server_forgets_once_it_is_joined_has_been_joined(
    faulty_store: S3Store, proxy: FaultyProxy, new: bool
) -> None:
    write = faulty_store.create if new else faulty_store.replace
    write("first", b"")
    proxy.plan_once("", "", "cut after", "no upload")  # begun, its part, joined, joined again
    write("a", LARGE)
    assert faulty_store.read("a") == LARGE
    assert proxy.faults() == ["cut after", "no upload"]


@pytest.mark.parametrize("new", [True, False])
def test_an_upload_that_was_given_up_by_the_server_is_an_outside_error(
    faulty_store: S3Store, proxy: FaultyProxy, new: bool
) -> None:
    write = faulty_store.create if new else faulty_store.replace
    write("first", b"")
    proxy.plan_once("", "", "no upload")
    with pytest.raises(OutsideError, match="NoSuchUpload"):
        write("a", LARGE)
    assert faulty_store.keys() == ["first"]


def test_parts_of_an_object_that_somebody_else_has_created_are_cleared_away(
    faulty_store: S3Store, unfinished: Unfinished
) -> None:
    faulty_store.create("a", LARGE)
    with pytest.raises(FileExistsError):
        faulty_store.create("a", LARGE)
    assert unfinished(faulty_store) == []


def test_a_download_that_breaks_off_goes_on_where_it_did(
    faulty_store: S3Store, proxy: FaultyProxy, tmp_path: Path
) -> None:
    data = bytes(range(256)) * 20_000
    faulty_store.create("a", data)
    proxy.plan_once("cut half-way", "503", "cut half-way", "cut before", method="GET")
    assert faulty_store.read("a") == data
    proxy.plan_once("cut half-way", "cut half-way", method="GET")
    faulty_store.get_file("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == data
    assert proxy.faults().count("cut half-way") == 4


def test_a_download_that_ends_too_early_every_time_leaves_no_file(
    faulty_store: S3Store, proxy: FaultyProxy, tmp_path: Path
) -> None:
    faulty_store.create("a", b"data" * 100)
    faulty_store._attempts = 2
    proxy.plan = lambda method, _: "cut half-way" if method == "GET" else ""
    with pytest.raises(OutsideError, match="cannot read"):
        faulty_store.get_file("a", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["whole", "parts"])
def test_bytes_that_are_not_those_that_were_stored_are_refused(
    faulty_store: S3Store, proxy: FaultyProxy, tmp_path: Path, data: bytes
) -> None:
    faulty_store.create("a", data)
    proxy.plan = lambda method, _: "flip" if method == "GET" else ""
    with pytest.raises(OutsideError, match="came with other bytes than were stored"):
        faulty_store.read("a")
    with pytest.raises(OutsideError, match="came with other bytes than were stored"):
        faulty_store.get_file("a", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_lost_answer_does_not_fence_the_ledgers_own_writer(faulty_store: S3Store, proxy: FaultyProxy) -> None:
    ledger = Ledger(faulty_store, load_signer())
    ledger.append("note", {"number": 0})
    for number in range(1, 6):
        proxy.plan_once("cut after", method="PUT")
        ledger.append("note", {"number": number})
    stale = Ledger(faulty_store, load_signer())
    ledger.append("note", {"number": 6})
    proxy.plan_once("cut after", method="PUT")
    with pytest.raises(FencedError):
        stale.append("note", {"number": 7})
    assert verify(faulty_store, verify_signature).entries == 14
    assert [entry.data["number"] for entry in ledger.entries({"note"})] == list(range(7))


# ---------------------------------------------------------------- a bucket with versions


def test_in_a_bucket_with_versions_the_newest_counts(new_bucket: Callable[..., str], s3_client: Any) -> None:
    name = new_bucket()
    s3_client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    store = S3Store(name)
    store.create("a", b"1")
    with pytest.raises(FileExistsError):
        store.create("a", b"2")
    store.replace("a", b"3")
    assert store.read("a") == b"3"
    store.remove("a")
    assert store.keys() == []
    store.create("a", b"4")
    assert store.read("a") == b"4"
    store.close()
