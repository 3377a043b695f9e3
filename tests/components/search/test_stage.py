from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components import parts
from components.prepared import Prepared
from components.search.stage import search
from components.spec import Spec
from nas_core.errors import EvernasError, InputError, OutsideError
from nas_core.failures import failure
from nas_core.history import KINDS, History
from nas_core.ledger import Ledger
from nas_core.store import MemoryStore, Store
from nas_core.study import LedgerStudy
from nas_core.types import Status

Tumour = Callable[..., Spec]


def play(spec: Spec, data: Path, out: Path, store: Store | None = None) -> dict[str, Any]:
    ledger = Ledger(store or MemoryStore())
    return search(spec, data, ledger, out, name="tumour-1", on_trial=lambda *_: None)


def trials(store: Store) -> list[Any]:
    """Return what was proposed and what came out, without times."""
    entries = Ledger(store).entries(KINDS)
    return [{name: value for name, value in e.data.items() if name != "cost_seconds"} for e in entries]


# ---------------------------------------------------------------- the result


def test_the_best_candidate_comes_out_with_how_it_was_found(tumour: Tumour, prepared: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    found = play(tumour(), prepared, tmp_path, store)
    outcomes = {e.data["number"]: e.data for e in Ledger(store).entries({"outcome"})}
    assert found["candidates"] == len(outcomes) == 4
    assert found["statuses"] == {"ok": 4}
    assert found["metrics"] == outcomes[found["trial"]]["metrics"]
    assert found["metrics"]["accuracy"] == max(outcome["metrics"]["accuracy"] for outcome in outcomes.values())
    space = parts.build_space(tumour(), Prepared.load(prepared).signature)
    assert len(found["architecture"]) == len(space.decisions)
    assert found["decisions"].keys() <= {decision.name for decision in space.decisions}
    assert found["trial"] in found["front"]
    assert not found["exhausted"]


def test_a_result_is_json_with_finite_numbers(tumour: Tumour, prepared: Path, tmp_path: Path) -> None:
    found = play(tumour(), prepared, tmp_path)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_search_is_given_neither_test_nor_audit_rows(tumour: Tumour, prepared: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(prepared, tmp_path / "data"))
    for split in ("test", "audit"):
        (data / f"{split}.npz").unlink()
        (data / f"{split}.parquet").unlink()
    assert play(tumour(), data, tmp_path / "out")["candidates"] == 4


def test_a_search_that_was_interrupted_goes_on_as_if_it_had_not_been(
    tumour: Tumour, prepared: Path, tmp_path: Path
) -> None:
    whole, resumed = MemoryStore(), MemoryStore()
    expected = play(tumour(), prepared, tmp_path / "whole", whole)
    play(tumour(budget={"trials": 2}), prepared, tmp_path / "resumed", resumed)
    found = play(tumour(), prepared, tmp_path / "resumed", resumed)
    assert [data for data in trials(resumed) if data != {"trials": []}] == trials(whole)  # but for the taking over
    differing = {"cost_seconds": 0, "spent": {}}
    assert {**found, **differing} == {**expected, **differing}


def test_checkpoints_are_kept_of_the_front_only(tumour: Tumour, prepared: Path, tmp_path: Path) -> None:
    objectives = [{"metric": "accuracy", "goal": "max"}, {"metric": "params", "goal": "min"}]
    found = play(tumour(objectives=objectives, budget={"trials": 6}), prepared, tmp_path)
    assert len(found["front"]) < found["candidates"]
    assert {path.name for path in (tmp_path / "weights").iterdir()} == {str(number) for number in found["front"]}


def test_a_space_smaller_than_the_budget_is_said_to_be_exhausted(
    tumour: Tumour, prepared: Path, tmp_path: Path
) -> None:
    space = {"kind": "chain", "max_depth": 1, "widths": [8], "numeric": ["linear"]}
    space |= {"activations": ["relu"], "normalisations": ["none"], "dropouts": [0.0, 0.1]}
    found = play(tumour(space=space, budget={"trials": 50}), prepared, tmp_path)
    assert found["exhausted"]
    assert found["candidates"] == found["space_size"] < 50


@pytest.mark.slow
def test_the_same_search_on_ray_finds_the_same(tumour: Tumour, prepared: Path, tmp_path: Path) -> None:
    expected = play(tumour(), prepared, tmp_path / "local")
    found = play(tumour(runner={"kind": "ray", "max_concurrent": 1}), prepared, tmp_path / "ray")
    timings = {"cost_seconds": 0, "spent": 0}
    assert found | timings == expected | timings


# ---------------------------------------------------------------- no result


def test_if_none_keeps_the_limits_they_are_named_with_the_nearest_candidate(
    tumour: Tumour, prepared: Path, tmp_path: Path
) -> None:
    objectives = [{"metric": "accuracy", "goal": "max", "limit": 0.5}, {"metric": "params", "goal": "min", "limit": 3}]
    with pytest.raises(InputError) as caught:
        play(tumour(objectives=objectives), prepared, tmp_path)
    told = str(caught.value)
    assert told.startswith("search.objectives: none of 4 candidates keeps the limits (accuracy >= 0.5, params <= 3)")
    assert "the nearest, trial " in told
    assert "loosen a limit" in told


def test_if_all_fail_the_first_reason_is_given(tumour: Tumour, prepared: Path, tmp_path: Path) -> None:
    diverges = {"kind": "training", "epochs": 1, "learning_rate": 1e30}
    with pytest.raises(
        EvernasError, match=r"no candidate came out \(4 failed\); the first ended with: nan: "
    ) as caught:
        play(tumour(estimator=diverges), prepared, tmp_path)
    assert caught.value.exit_code == 1


def test_if_the_budget_ends_before_a_trial_in_full_the_best_of_the_furthest_is_taken(
    tumour: Tumour, prepared: Path, tmp_path: Path
) -> None:
    store = MemoryStore()
    found = play(tumour(strategy={"kind": "asha"}, budget={"trials": 6}), prepared, tmp_path, store)
    history = History(Ledger(store).entries()).trials
    furthest = [trial for trial in history if trial.fidelity == found["fidelity"]]
    assert found["fidelity"] == max(trial.fidelity for trial in history) < 1
    assert found["metrics"]["accuracy"] == max((trial.metrics or {})["accuracy"] for trial in furthest)


def test_if_all_were_lost_the_fault_is_outside(tumour: Tumour, prepared: Path, tmp_path: Path) -> None:
    spec, store = tumour(budget={"trials": 2}), MemoryStore()
    space = parts.build_space(spec, Prepared.load(prepared).signature)
    strategy = parts.build_strategy(spec, space)
    study = LedgerStudy(Ledger(store), space, parts.objectives(spec), strategy)
    for trial in study.ask(2):
        study.tell(trial.number, failure(Status.LOST, "node", "its node has died"), 1.0)
    with pytest.raises(OutsideError, match=r"\(2 lost\); the first ended with: node: its node has died"):
        play(spec, prepared, tmp_path, store)
