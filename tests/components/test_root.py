"""Runs in a store: what is in it, what a working folder gets from it, and who wins where two want the same."""

from __future__ import annotations

import pickle
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.backends.s3 import S3Store
from components.backends.signing import load_signer
from components.backends.store_checkpoints import StoreCheckpoints
from components.report.step import main as close
from components.resuming import check_unchanged
from components.root import Root
from components.run import Run
from nas_core.errors import FencedError, InputError, IntegrityError
from nas_core.ledger import Ledger, verify
from nas_core.store import FolderStore
from tests.components.backends.s3_server import s3_server
from tests.e2e.specs import TUMOUR

TRACKED = {**TUMOUR, "tracking": {"uri": "sqlite:////nowhere/mlflow.db"}}
SPEC = yaml.safe_dump(TRACKED)

Machine = Callable[[], Root]
"""Opens the root on a machine that has nothing of it yet."""


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def s3_root(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty place in a bucket."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL_S3": address,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    name = f"root-{uuid.uuid4().hex[:12]}"
    client = boto3.session.Session().client("s3")
    client.create_bucket(Bucket=name)
    client.close()
    return f"s3://{name}/some/where"


@pytest.fixture(params=["folder", "s3"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The root is a store, which is either a folder or a bucket; either way it is worked on in another folder."""
    folders = (tmp_path / f"machine-{number}" for number in range(9))
    if request.param == "folder":

        def in_folder() -> Root:
            return Root(str(tmp_path / "store"), next(folders), remote=True)

        return in_folder
    uri = request.getfixturevalue("s3_root")

    def in_bucket() -> Root:
        monkeypatch.setenv("EVERNAS_CACHE", str(next(folders)))
        return Root.open(uri)

    return in_bucket


@pytest.fixture
def run(machine: Machine, tmp_path: Path) -> Run:
    return Run.create(machine(), "first", SPEC, tmp_path)


def writing(text: str, calls: list[str] | None = None) -> Any:
    def work(out: Path, _: Ledger) -> dict[str, Any]:
        if calls is not None:
            calls.append(text)
        (out / "deep").mkdir()
        (out / "deep" / "made.txt").write_text(text)
        (out / "_engine").mkdir()
        (out / "_engine" / "state").write_text("scratch")
        return {"text": text}

    return work


def keys(run: Run, prefix: str = "") -> list[str]:
    return list(run.store.keys(prefix))


# ---------------------------------------------------------------- addresses


def test_a_folder_is_worked_on_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Root.open("runs") == Root("runs", Path("runs"))
    assert Root.open(tmp_path / "a") == Root(str(tmp_path / "a"), tmp_path / "a")
    assert Root.open(f"file://{tmp_path}/b%20c").folder == tmp_path / "b c"
    assert not Root.open(f"file://{tmp_path}").remote


def test_an_address_has_a_working_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERNAS_CACHE", str(tmp_path))
    places = ["s3://bucket/a", "s3://bucket/b", "s3://other/a", "s3://bucket/a-b", "s3://bucket/a/b", "s3://bucket"]
    roots = [Root.open(place) for place in places]
    assert len({root.folder for root in roots}) == len(places)
    assert all(root.folder.parent == tmp_path and root.remote for root in roots)
    assert roots[0].folder.name.startswith("bucket-a-")
    assert Root.open("s3://bucket/a/") == roots[0]
    assert not any(root.folder.exists() for root in roots)


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERNAS_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Root.open("s3://bucket/a").folder.parent == tmp_path / "xdg" / "evernas"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert Root.open("s3://bucket/a").folder.parent == tmp_path / "home" / ".cache" / "evernas"


@pytest.mark.parametrize("place", ["ftp://host/a", "s3:/bucket/a", Path("s3://bucket/a"), "file://host/a"])
def test_other_addresses_are_refused(place: str | Path) -> None:
    with pytest.raises(InputError, match=r"root: |storage: "):
        Root.open(place)


def test_who_is_given_the_working_folder_works_on_the_store(run: Run) -> None:
    again = Run.open(run.root, "first")
    assert (again.uri, again.place.remote) == (run.uri, True)
    assert Run.open(run.folder.parent, run.folder.name).store.keys() == run.store.keys()


# ---------------------------------------------------------------- beginning and opening


def test_a_run_is_opened_elsewhere_as_it_was_made(run: Run, machine: Machine, tmp_path: Path) -> None:
    other = Run.open(machine(), "first")
    assert other.root != run.root
    assert (other.spec, other.base, other.forced, other.uri) == (run.spec, tmp_path, False, run.uri)
    assert (other.folder / "spec.yaml").read_text() == SPEC
    assert Run.open(machine(), "latest").id == "first"


def test_of_two_who_begin_a_run_one_does(run: Run, machine: Machine, tmp_path: Path) -> None:
    assert Run.create(machine(), "first", SPEC, tmp_path).spec == run.spec
    with pytest.raises(InputError, match="another spec"):
        Run.create(machine(), "first", SPEC.replace("tumour", "other"), tmp_path)
    assert Run.open(machine(), "first").spec.name == "tumour"


def test_runs_are_listed_and_the_latest_is_known(run: Run, machine: Machine, tmp_path: Path) -> None:
    Run.create(machine(), "second", SPEC, tmp_path)
    run.step("drift", {}, writing("x"))
    root = machine()
    assert (root.runs(), root.latest()) == (["first", "second"], "second")


@pytest.mark.parametrize("name", ["none", "latest", "../first", ".hidden", "a/b", ""])
def test_there_is_no_such_run(machine: Machine, name: str) -> None:
    with pytest.raises(InputError, match="there is no run"):
        Run.open(machine(), name)


def test_a_tracking_server_has_to_be_named(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    untracked, root = yaml.safe_dump(TUMOUR), machine()
    with pytest.raises(InputError, match=r"tracking\.uri: is not set"):
        Run.create(root, "one", untracked, tmp_path)
    assert root.store().keys() == []
    assert not root.folder.exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert Run.create(root, "one", untracked, tmp_path).tracker.spec.uri == "http://mlflow:5000"


# ---------------------------------------------------------------- steps


def test_a_step_is_done_once_wherever_it_is_called(run: Run, machine: Machine) -> None:
    calls: list[str] = []
    run.begin()
    first = run.step("data_prep", {}, writing("one", calls))
    again = Run.open(machine(), "first").step("data_prep", {}, writing("two", calls))
    assert (first, again, calls) == ({"text": "one"}, {"text": "one"}, ["one"])
    assert verify(run.store, None).entries > 2
    assert not (run.folder / "ledger").exists()


def test_a_step_finds_what_it_reads_and_nothing_else(run: Run, machine: Machine) -> None:
    run.step("data_prep", {}, writing("data"))
    run.step("search", {}, writing("found"), reads=["data_prep"])
    other = Run.open(machine(), "first")

    def work(_: Path, __: Ledger) -> dict[str, Any]:
        assert (other.folder / "data_prep/deep/made.txt").read_text() == "data"
        assert not (other.folder / "search").exists()
        return {}

    other.step("retrain", {}, work, reads=["data_prep"])
    last = Run.open(machine(), "first")
    last.step("report", {}, lambda _, __: {})
    assert (last.folder / "search/deep/made.txt").read_text() == "found", "all, unless it is said what"
    assert not (last.folder / "search/_engine").exists()


def test_all_that_is_on_record_is_in_the_store_before(run: Run) -> None:
    seen: list[list[str]] = []

    class Watching(Ledger):
        def append(self, kind: str, data: Any) -> Any:
            if kind == "stage":
                seen.append(keys(run, "files/"))
            return super().append(kind, data)

    run.begin()
    work = writing("data")
    run._step("data_prep", "digest", work, Watching(run.store, load_signer()), ())
    [at_record] = seen
    [stage] = [entry.data for entry in Ledger(run.store).entries({"stage"})]
    assert at_record == [f"files/{digest}/made.txt" for digest in stage["files"].values()]


def test_a_copy_that_was_changed_is_fetched_again_and_leftovers_go(run: Run) -> None:
    run.step("data_prep", {}, writing("data"))
    made = run.folder / "data_prep/deep/made.txt"
    made.write_text("other")
    (made.parent / "left.txt").write_text("of a try that was killed")
    (run.folder / "data_prep/_engine/state").write_text("kept")
    run.kept.fetch(["data_prep"])
    assert made.read_text() == "data"
    assert not (made.parent / "left.txt").exists()
    assert (run.folder / "data_prep/_engine/state").exists()


def test_a_step_begins_with_an_empty_folder(run: Run) -> None:
    def killed(out: Path, _: Ledger) -> dict[str, Any]:
        (out / "half.txt").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.step("retrain", {}, killed)
    run.step("retrain", {}, writing("whole"))
    [stage] = [entry.data for entry in Ledger(run.store).entries({"stage"})]
    assert list(stage["files"]) == ["deep/made.txt"]


def test_bytes_that_were_changed_in_the_store_are_found(run: Run, machine: Machine) -> None:
    run.step("data_prep", {}, writing("data"))
    [key] = keys(run, "files/")
    run.store.replace(key, b"evil")
    other = Run.open(machine(), "first")
    with pytest.raises(IntegrityError, match=r"data_prep/deep/made\.txt: the storage holds other bytes"):
        other.kept.fetch()
    assert not (other.folder / "data_prep/deep/made.txt").exists()
    run.store.remove(key)
    with pytest.raises(IntegrityError, match=r"made\.txt: is on record, but no more in the storage"):
        other.step("search", {}, writing("found"))
    [failure] = [entry.data for entry in Ledger(run.store).entries({"failure"})]
    assert failure["code"] == 5


def test_who_was_given_up_for_dead_changes_nothing(run: Run, machine: Machine) -> None:
    """It still sends its files, after another has put the same stage on record."""
    other = Run.open(machine(), "first")
    run.begin()

    def slow(out: Path, ledger: Ledger) -> dict[str, Any]:
        other.step("retrain", {}, writing("of the other"))
        return dict(writing("of the orphan")(out, ledger))

    with pytest.raises(FencedError):
        run.step("retrain", {}, slow)
    assert run.results() == {"retrain": {"text": "of the other"}}
    with pytest.raises(FencedError):
        close(str(run.root), "first")
    assert not run.closed, "nor does its pipeline close what the other works on"
    last = Run.open(machine(), "first")
    last.kept.fetch()
    assert (last.folder / "retrain/deep/made.txt").read_text() == "of the other"
    run.begin()
    run.kept.check()


# ---------------------------------------------------------------- looking for changes


def test_what_is_checked_out_is_what_the_store_holds(run: Run, machine: Machine) -> None:
    run.begin()
    run.step("data_prep", {}, writing("data"))
    run.step("search", {}, writing("found"))
    good = Run.open(machine(), "first")
    assert not (good.folder / "data_prep").exists()
    assert verify(FolderStore(good.kept.checkout()), None).head == Ledger(run.store).head
    check_unchanged(good)

    [key] = [key for key in keys(run, "files/") if run.store.read(key) == b"data"]
    run.store.replace(key, b"evil")
    good.kept.checkout()
    with pytest.raises(InputError, match=r"data_prep/deep/made\.txt: has other bytes"):
        check_unchanged(good)
    run.store.remove(key)
    good.kept.checkout()
    assert not (good.folder / "data_prep/deep/made.txt").exists()


def test_a_ledger_that_was_merged_or_changed_is_mirrored_as_it_is(run: Run) -> None:
    with run.writing("search") as ledger:
        for number in range(70):
            ledger.append("note", {"number": number})
        run.kept.fetch_ledger()
        ledger.compact()
        ledger.append("note", {"number": 70})
    folder = FolderStore(run.kept.checkout())
    assert folder.keys("ledger/") == run.store.keys("ledger/")
    assert verify(folder, None).head == Ledger(run.store).head
    newest = run.store.keys("ledger/")[0]
    run.store.replace(newest, run.store.read(newest).replace(b'"number":70', b'"number":71'))
    run.kept.checkout()
    assert folder.read(newest) == run.store.read(newest)


def test_checkpoints_are_in_the_store_and_can_be_sent_to_a_worker(run: Run, machine: Machine) -> None:
    opener = run.kept.checkpoints("search")
    assert opener is not None
    sent = pickle.loads(pickle.dumps(opener))()  # noqa: S301  our own bytes, as Ray sends them
    assert isinstance(sent, StoreCheckpoints)
    sent.save(3, 0, 1, lambda folder: (folder / "state.json").write_text("{}") and None)
    elsewhere = Run.open(machine(), "first").kept.checkpoints("search")
    assert elsewhere is not None
    found = elsewhere().newest(3)
    assert found is not None
    assert found.is_relative_to(Run.open(machine(), "first").root.parent) or found.exists()
    assert [key for key in keys(run) if key.startswith("search/weights/3/0-1/")]


def test_anchors_are_those_of_the_run(run: Run, machine: Machine) -> None:
    run.begin()
    newest = Run.open(machine(), "first").anchors.newest()
    assert newest is not None
    assert newest.seq == Ledger(run.store).head.seq


def test_the_working_folder_may_go_at_any_time(run: Run) -> None:
    run.begin()
    run.step("data_prep", {}, writing("data"))
    shutil.rmtree(run.root)
    again = Run.open(run.place, "first")
    again.step("search", {}, writing("found"))
    assert list(again.results()) == ["data_prep", "search"]


def test_a_bucket_holds_the_run(s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERNAS_CACHE", str(tmp_path / "cache"))
    Run.create(s3_root, "first", SPEC, tmp_path)
    bucket, _, prefix = s3_root.removeprefix("s3://").partition("/")
    store = S3Store(bucket, prefix)
    assert store.keys() == ["first/run.json", "latest"]
    store.close()
