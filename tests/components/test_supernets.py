"""The supernet of a search: trained once, on record, found again, and handed to strategy and estimator."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from components import supernets
from components.data_prep.stage import prepare
from components.search.stage import search
from components.spec import Spec
from components.spec_file import parse_spec
from nas_core.errors import InputError
from nas_core.ledger import Ledger
from nas_core.store import MemoryStore
from nas_core.types import Metrics

TE_NAS = {"kind": "te-nas", "repeats": 1, "batch": 2, "lines": 1, "points": 3}
SPOS = {"kind": "spos", "epochs": 2, "batch_size": 32}
STRIPES: dict[str, Any] = {
    "name": "stripes",
    "task": {"kind": "image", "source": {"kind": "npz", "path": "stripes.npz"}, "target": "y", "column": "image"},
    "search": {
        "space": {"kind": "macro", "max_layers": 2, "operations": ["conv_3x3", "avg_pool_3x3"], "channels": 4},
        "objectives": [{"metric": "accuracy", "goal": "max"}],
        "budget": {"trials": 3},
        "runner": {"kind": "local"},
    },
}
Stripes = Callable[..., Spec]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of stripes that lie or stand, prepared in `data`; not to be changed."""
    folder = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    y = np.arange(160) % 2
    stripes = np.tile(np.array([1, 1, 0, 0]), 2)
    x = np.where(y[:, None, None] == 0, stripes[None, :, None], stripes[None, None, :])
    pictures = 60 + 120 * x + rng.integers(0, 60, x.shape)
    np.savez(folder / "stripes.npz", x=pictures.astype(np.uint8), y=y)
    prepare(spec_of().task, 0, folder, folder / "data")
    return folder


def spec_of(**keys: Any) -> Spec:
    return parse_spec(yaml.safe_dump({**STRIPES, "search": {**STRIPES["search"], **keys}}), "spec.yaml")


def te_nas(**keys: Any) -> Spec:
    estimator = {"kind": "training", "epochs": 1}
    return spec_of(supernet=TE_NAS, strategy={"kind": "derived"}, estimator=estimator, **keys)


def spos(**keys: Any) -> Spec:
    return spec_of(supernet=SPOS, strategy={"kind": "random"}, estimator={"kind": "shared", "recalibration": 1}, **keys)


class Watcher:
    """Counts the reports of a supernet's training, and ends the process at one of them."""

    def __init__(self, dies_at: int = 0) -> None:
        self.reports = 0
        self._dies_at = dies_at

    def __call__(self, step: int, steps: int, _metrics: Metrics) -> None:
        assert step <= steps
        self.reports += 1
        if self.reports == self._dies_at:
            raise KeyboardInterrupt


def play(spec: Spec, folder: Path, out: Path, store: MemoryStore, watcher: Watcher) -> dict[str, Any]:
    ledger = Ledger(store)
    return search(spec, folder / "data", ledger, out, name="stripes", on_trial=lambda *_: None, on_supernet=watcher)


def entries(store: MemoryStore, kind: str) -> list[dict[str, Any]]:
    return [entry.data for entry in Ledger(store).entries({kind})]


def test_what_te_nas_comes_to_is_proposed_trained_and_chosen(folder: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    found = play(te_nas(), folder, tmp_path, store, Watcher())
    (entry,) = entries(store, "supernet")
    assert entry["kind"] == "te-nas"
    assert entry["options"] == {name: value for name, value in TE_NAS.items() if name != "kind"}
    assert entry["steps"] == 4
    assert entry["candidates"] == [found["architecture"]]
    assert found["candidates"] == 1
    assert found["exhausted"]
    (proposal,) = (p for e in entries(store, "proposals") for p in e["accepted"])
    assert proposal["why"] == {"rank": 0}


@pytest.mark.parametrize("spec", [te_nas, spos], ids=["te-nas", "spos"])
def test_a_search_killed_while_its_supernet_is_trained_ends_as_if_it_had_not_been(
    spec: Callable[[], Spec], folder: Path, tmp_path: Path
) -> None:
    whole, resumed = MemoryStore(), MemoryStore()
    expected = play(spec(), folder, tmp_path / "whole", whole, Watcher())
    with pytest.raises(KeyboardInterrupt):
        play(spec(), folder, tmp_path / "resumed", resumed, Watcher(dies_at=4))
    assert entries(resumed, "supernet") == []
    assert (tmp_path / "resumed" / "supernet" / "3" / "state.json").is_file()
    found = play(spec(), folder, tmp_path / "resumed", resumed, Watcher())
    (before,), (after,) = entries(whole, "supernet"), entries(resumed, "supernet")
    assert {**after, "seconds": 0} == {**before, "seconds": 0}
    timings: dict[str, Any] = {"cost_seconds": 0, "spent": {}}
    assert {**found, **timings} == {**expected, **timings}


def test_a_supernet_on_record_is_not_trained_again(folder: Path, tmp_path: Path) -> None:
    store, watcher = MemoryStore(), Watcher()
    play(spos(), folder, tmp_path, store, Watcher())
    found = play(spos(budget={"trials": 5}), folder, tmp_path, store, watcher)
    assert watcher.reports == 0
    assert found["candidates"] == 5
    assert len(entries(store, "supernet")) == 1


def test_weights_that_are_gone_are_trained_anew_and_put_on_record(folder: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    play(spos(), folder, tmp_path, store, Watcher())
    shutil.rmtree(tmp_path / "supernet")
    play(spos(budget={"trials": 4}), folder, tmp_path, store, Watcher())
    first, second = entries(store, "supernet")
    assert first["digest"] == second["digest"]


def test_candidates_need_no_weights(folder: Path, tmp_path: Path) -> None:
    store, watcher = MemoryStore(), Watcher()
    play(te_nas(), folder, tmp_path, store, Watcher())
    shutil.rmtree(tmp_path / "supernet")
    play(te_nas(), folder, tmp_path, store, watcher)
    assert watcher.reports == 0


def test_a_strategy_that_wraps_another_hands_candidates_on() -> None:
    spec = spec_of(supernet=TE_NAS, strategy={"kind": "asha", "around": "derived"})
    trained = supernets.Trained(None, ((1, 1, 0, 1),))
    assert supernets.applied(spec, trained).search.strategy.options == {
        "around": "derived",
        "options": {"candidates": [[1, 1, 0, 1]]},
    }


def test_what_the_spec_says_itself_stands() -> None:
    own = [[0, 1, 0, 0]]
    spec = spec_of(supernet=TE_NAS, strategy={"kind": "derived", "candidates": own})
    applied = supernets.applied(spec, supernets.Trained(None, ((1, 1, 0, 1),)))
    assert applied.search.strategy.options["candidates"] == own


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"strategy": {"kind": "derived"}}, "search.strategy: derived proposes what a supernet came to, and there is"),
        ({"estimator": {"kind": "shared"}}, "search.estimator: shared measures by the weights of a supernet, and the"),
        ({"supernet": SPOS, "strategy": {"kind": "derived"}}, "derived has nothing to propose, spos ranks no archite"),
        ({"supernet": TE_NAS, "estimator": {"kind": "shared"}}, "shared has nothing to measure by, te-nas trains no w"),
        ({"supernet": {"kind": "tenas"}}, "search.supernet.kind: unknown name 'tenas', expected one of spos, te-nas"),
    ],
)
def test_what_does_not_go_together_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spec_of(**keys)
