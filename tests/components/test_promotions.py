"""Deployments in a store: one promotion wins, and whoever reads has whole bundles."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from components import bundle
from components.backends.signing import load_signer
from components.champion import Champion, bundle_folder, champion
from components.promotions import Deployment, StoredDeployment, deployment
from components.root import Root
from nas_core.errors import FencedError, IntegrityError
from nas_core.store import FolderStore, MemoryStore, Store

Elsewhere = Callable[[], StoredDeployment]


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else FolderStore(tmp_path / "store")


@pytest.fixture
def elsewhere(store: Store, tmp_path: Path) -> Elsewhere:
    """Opens the deployment on a machine that has nothing of it."""
    folders = (tmp_path / f"machine-{number}" for number in range(9))
    return lambda: StoredDeployment(next(folders), store, "champions/tumour")


def made(where: Deployment, content: str) -> str:
    """Write a bundle to where a stage leaves it, and return its digest."""
    contents = {bundle.MODEL: content.encode(), bundle.PROFILE: b"{}"}
    draft = where.folder / "draft" / content
    digest = bundle.write(draft, contents, load_signer())
    bundle.write(bundle_folder(where.folder, digest), contents, load_signer())
    return digest


def promoted(where: Deployment, content: str, run: str, over: str | None) -> Champion:
    return where.promote(where.folder, made(where, content), run, over)


def test_at_first_there_is_no_champion(elsewhere: Elsewhere) -> None:
    here = elsewhere()
    assert here.champion() is None
    assert champion(here.fetch()) is None


def test_the_champion_is_the_same_everywhere(elsewhere: Elsewhere) -> None:
    pointer = promoted(elsewhere(), "one", "run-1", None)
    there = elsewhere()
    assert there.champion() == pointer
    folder = there.fetch()
    assert champion(folder) == pointer
    assert bundle.read(bundle_folder(folder, pointer.digest), pointer.digest).contents[bundle.MODEL] == b"one"


def test_promotions_are_numbered_and_stay(elsewhere: Elsewhere, store: Store) -> None:
    first = promoted(elsewhere(), "one", "run-1", None)
    second = promoted(elsewhere(), "two", "run-2", first.digest)
    assert second.previous == first.digest
    assert store.keys("promotions/") == ["promotions/00000000.json", "promotions/00000001.json"]
    assert elsewhere().champion() == second


def test_a_run_finds_the_bundle_that_it_has_to_beat(elsewhere: Elsewhere) -> None:
    first = promoted(elsewhere(), "one", "run-1", None)
    second = promoted(elsewhere(), "two", "run-2", first.digest)
    again, other = elsewhere(), elsewhere()
    assert bundle.is_bundle(bundle_folder(again.fetch("run-2"), first.digest))
    assert not bundle_folder(other.fetch("run-3"), first.digest).exists()
    assert again.promote(again.folder, second.digest, "run-2", first.digest).digest == second.digest


def test_a_comparison_with_a_champion_of_the_past_is_refused(elsewhere: Elsewhere) -> None:
    first = promoted(elsewhere(), "one", "run-1", None)
    with pytest.raises(FencedError, match="another run promoted"):
        promoted(elsewhere(), "two", "run-2", None)
    assert elsewhere().champion() == first


def test_of_many_who_promote_at_the_same_moment_one_does(elsewhere: Elsewhere) -> None:
    ready = threading.Barrier(4)
    ended: list[Champion | FencedError] = []

    def race(number: int) -> None:
        here = elsewhere_of[number]
        digest = made(here, f"model {number}")
        try:
            ended.append(here.promote(here.folder, digest, f"run-{number}", None, lambda: ready.wait(30)))
        except FencedError as error:
            ended.append(error)

    elsewhere_of = [elsewhere() for _ in range(4)]
    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = [each for each in ended if isinstance(each, Champion)]
    assert len(ended) == 4
    assert elsewhere().champion() == winner


def test_a_promotion_that_cannot_be_recorded_does_not_happen(elsewhere: Elsewhere) -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    here = elsewhere()
    digest = made(here, "one")
    with pytest.raises(OSError, match="full"):
        here.promote(here.folder, digest, "run-1", None, fail)
    assert elsewhere().champion() is None


def test_a_bundle_is_there_before_the_promotion(elsewhere: Elsewhere, store: Store) -> None:
    here = elsewhere()
    digest = made(here, "one")
    seen: list[list[str]] = []
    here.promote(here.folder, digest, "run-1", None, lambda: seen.append(list(store.keys("bundles/"))))
    names = [path.name for path in bundle_folder(here.folder, digest).iterdir()]
    assert seen == [sorted(f"bundles/{digest}/{name}" for name in names)]


def test_a_bundle_that_was_changed_is_found_and_a_changed_copy_is_fetched_again(
    elsewhere: Elsewhere, store: Store
) -> None:
    pointer = promoted(elsewhere(), "one", "run-1", None)
    there = elsewhere()
    copy = bundle_folder(there.fetch(), pointer.digest) / bundle.MODEL
    copy.write_bytes(b"changed here")
    there.fetch()
    assert copy.read_bytes() == b"one"
    store.replace(f"bundles/{pointer.digest}/{bundle.MODEL}", b"evil")
    with pytest.raises(IntegrityError, match=r"model\.onnx was changed"):
        elsewhere().fetch()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"digest": "aaa"}'])
def test_a_damaged_promotion_is_told(elsewhere: Elsewhere, store: Store, data: bytes) -> None:
    store.create("promotions/00000000.json", data)
    with pytest.raises(IntegrityError, match=r"promotions/00000000\.json: not a champion's pointer"):
        elsewhere().champion()


def test_a_name_that_is_none_is_told(elsewhere: Elsewhere, store: Store) -> None:
    store.create("promotions/zzz.json", b"{}")
    with pytest.raises(IntegrityError, match="not a promotion's name"):
        elsewhere().champion()


def test_in_a_folder_the_deployment_is_the_folder(tmp_path: Path) -> None:
    here = deployment(Root.open(tmp_path), "tumour")
    pointer = here.promote(here.folder, "aaa", "run-1", None)
    assert here.fetch("run-1") == tmp_path / "champions" / "tumour"
    assert here.champion() == pointer == champion(tmp_path / "champions" / "tumour")
    assert sorted(path.name for path in here.folder.iterdir()) == [".lock", "champion.json"]
