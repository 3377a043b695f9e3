"""A trial done again from its record gives the same figures, or says which are others."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from components import parts
from components.audit import replay as module
from components.audit.repetition import Repetition
from components.audit.replay import replay
from components.prepared import Prepared
from components.run import Run
from nas_core.errors import EvernasError, InputError, IntegrityError
from nas_core.interfaces import Rung
from nas_core.ledger import Ledger
from nas_core.runner import LocalRunner
from nas_core.study import LedgerStudy
from nas_core.types import Budget, Decision, Failure, Metrics, Objective, Proposal, Status, Trial
from tests.components.audit.conftest import SPEC, cycle
from tests.components.audit.forging import forge, own_signer


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file below `folder` with its digest and the time of its last change."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_promoted_trial_is_done_again_from_its_first_parent_on(searched: Run) -> None:
    chosen = searched.results()["search"]["trial"]
    seen: list[tuple[int, int]] = []
    done = replay(searched, chosen, lambda number, step, _: seen.append((number, step)))
    assert done.identical
    assert not done.broken(strict=True)
    assert done.environment == {}
    assert len(done.line) == 3
    assert done.compared > 4 * 5
    assert [step for number, step in seen if number == chosen] == [1, 2, 3, 4]
    assert [number for number, _ in seen] == sorted(number for number, _ in seen)


def test_every_trial_of_a_search_is_identical_the_stopped_ones_too(stopped: Run) -> None:
    done = [replay(stopped, number) for number in range(8)]
    assert all(each.identical for each in done)
    assert {each.status for each in done} == {("ok", "ok"), ("pruned", "pruned")}


def test_a_line_of_promotions_in_one_go_is_the_same_to_the_bit(searched: Run) -> None:
    """What `training` promises, so that it makes no difference which way an auditor goes."""
    chosen = searched.results()["search"]["trial"]
    history = module.read_history(Ledger(searched.store).entries()).trials
    spec, prepared = searched.spec, Prepared.load(searched.folder / "data_prep")
    space = parts.build_space(spec, prepared.signature)
    estimator = parts.build_estimator(spec, space, prepared.task("train", "validation"))
    alone = Repetition([history[chosen]], ["accuracy"], {}, lambda *_: None)
    LocalRunner().run(alone, [Rung(1.0, estimator)], Budget())
    assert alone.history[chosen].metrics == history[chosen].metrics
    assert alone.history[chosen].curve == history[chosen].curve


def test_nothing_is_written_into_the_run(searched: Run) -> None:
    before = tree(searched.root)
    replay(searched, 6)
    assert tree(searched.root) == before


def test_the_spec_on_record_counts_not_that_of_a_file(searched: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(searched.folder, tmp_path / searched.id))
    given = json.loads((folder / "run.json").read_text())
    given["spec"] = given["spec"].replace("seed: 3", "seed: 4")
    (folder / "run.json").write_text(json.dumps(given))
    (folder / "spec.yaml").write_text(given["spec"])
    run = Run.open(tmp_path, searched.id)
    assert run.spec.seed == 4
    assert replay(run, 3).identical


def test_other_data_is_refused_by_name(searched: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(searched.folder, tmp_path / searched.id))
    with (folder / "data_prep" / "train.npz").open("ab") as file:
        file.write(b" ")
    (folder / "data_prep" / "profile.json").unlink()
    told = "entry 4 recorded: profile.json is missing, train.npz has other bytes"
    with pytest.raises(IntegrityError, match=told) as caught:
        replay(Run.open(tmp_path, searched.id), 3)
    assert caught.value.entry == 4


def forged(searched: Run, to: Path) -> Run:
    """A copy of the run in which trial 3 is said to have done better, sealed by who holds the key."""
    folder = Path(shutil.copytree(searched.folder, to / searched.id))

    def better(entry: dict[str, Any]) -> None:
        if entry["kind"] == "outcome" and entry["data"]["number"] == 3:
            entry["data"]["metrics"]["accuracy"] = 0.99

    forge(folder, better, own_signer())
    return Run.open(to, searched.id)


def test_figures_that_never_were_are_named_with_what_they_are(searched: Run, tmp_path: Path) -> None:
    done = replay(forged(searched, tmp_path), 3)
    [deviation] = done.deviations
    assert (deviation.step, deviation.metric, deviation.recorded) == (None, "accuracy", 0.99)
    assert isinstance(deviation.found, float)
    assert deviation.difference == deviation.found - 0.99
    assert done.broken()
    assert done.to_json()["deviations"][0]["difference"] == deviation.difference


def test_on_another_environment_figures_may_be_others(
    searched: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = module.environment()
    monkeypatch.setattr(module, "environment", lambda: {**now, "torch": "9.9", "extra": "1"})
    done = replay(forged(searched, tmp_path), 3)
    assert done.environment == {"torch": (now["torch"], "9.9"), "extra": (None, "1")}
    assert not done.identical
    assert not done.broken()
    assert done.broken(strict=True)


def test_a_cycle_that_went_on_elsewhere_is_compared_with_where_the_trial_was_run(
    searched: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = module.environment()
    outcome = next(e.seq for e in Ledger(searched.store).entries({"outcome"}) if e.data["number"] == 3)
    real = Ledger.entries

    def entries(self: Ledger, *arguments: Any, **options: Any) -> Any:
        for entry in real(self, *arguments, **options):
            if entry.seq == outcome:
                yield entry._replace(kind="continued", data={"environment": {**now, "python": "3.0"}})
            yield entry

    monkeypatch.setattr(Ledger, "entries", entries)
    assert replay(searched, 3).environment == {"python": ("3.0", now["python"])}
    assert replay(searched, 0).environment == {}


def test_failures_are_compared_by_their_codes(others: Path) -> None:
    search = {**SPEC["search"], "strategy": {"kind": "random"}, "budget": {"trials": 3}}
    search["estimator"] = {"kind": "training", "epochs": 2, "learning_rate": 1e30}
    with pytest.raises(EvernasError, match="no candidate came out"):
        cycle(others, {**SPEC, "search": search}, run="failing", until="search")
    done = replay(Run.open(others, "failing"), 1)
    assert done.status == ("failed", "failed")
    assert done.identical
    assert done.compared == 2


def test_what_a_clock_decides_is_not_compared_and_all_else_is(others: Path) -> None:
    search = {**SPEC["search"], "strategy": {"kind": "random"}, "budget": {"trials": 2}}
    search["costs"] = [{"kind": "latency", "repeats": 5}, {"kind": "size"}]
    search["objectives"] = [{"metric": "accuracy", "goal": "max"}, {"metric": "latency_ms", "goal": "min"}]
    run = cycle(others, {**SPEC, "search": search}, run="timed", until="search")
    timed = next(e.data["metrics"] for e in Ledger(run.store).entries({"outcome"}) if e.data["number"] == 0)
    done = replay(run, 0)
    assert done.identical
    reports = len(list(Ledger(run.store).entries({"report"}))) // 2
    assert done.compared == 1 + (reports + 1) * (len(timed) - 2)  # the status; no latency_ms and none of its spread


def test_a_trial_that_had_no_place_was_not_started(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "one", yaml.safe_dump(SPEC), tmp_path)
    run.begin()
    with run.writing("search") as ledger:
        study = LedgerStudy(ledger, Widths(), [Objective(metric="accuracy", goal="max")], InTurn())
        study.ask(1)
        study.tell(0, Failure(status=Status.INFEASIBLE, reason="oom: needs about 9 MB"), 0.0)
    with pytest.raises(InputError, match=r"trial 0: was not started \(oom: needs about 9 MB\)"):
        replay(run, 0)


class Widths:
    decisions = (Decision(name="width", options=("8", "16")),)

    def build(self, architecture: Any) -> Any:
        raise RuntimeError(f"there is no network for {architecture}")


class InTurn:
    def propose(self, history: list[Trial], n: int) -> list[Proposal]:
        return [Proposal(architecture=(len(history),))][:n]


def test_a_trial_that_was_lost_or_is_running_has_nothing_to_compare_with(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "one", yaml.safe_dump(SPEC), tmp_path)
    run.begin()
    with run.writing("search") as ledger:
        study = LedgerStudy(ledger, Widths(), [Objective(metric="accuracy", goal="max")], InTurn())
        study.ask(1)
        study.tell(0, Failure(status=Status.LOST, reason="node: it went away"), 1.0)
        study.ask(1)
    with pytest.raises(InputError, match=r"trial 0: was lost \(node: it went away\)"):
        replay(run, 0)
    with pytest.raises(InputError, match="trial 1: has no end on record"):
        replay(run, 1)
    with pytest.raises(InputError, match="trial 2: run one has not tried it"):
        replay(run, 2)


def write_table(path: Path) -> None:
    """A benchmark table of six ways to do it."""
    np.savez(
        path,
        architectures=np.array([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]], dtype=np.uint8),
        decision_names=np.array(["operation", "width"]),
        options=np.array(json.dumps([["dense", "gated"], ["8", "16", "32"]])),
        **{"toy/accuracy": np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.5], dtype=np.float32)},
    )


def test_cheap_estimates_are_done_again_too(others: Path) -> None:
    write_table(others / "table.npz")
    search = {
        "space": {"kind": "table", "path": str(others / "table.npz")},
        "strategy": {"kind": "random"},
        "estimator": {"kind": "tabular", "path": "table.npz"},
        "objectives": [{"metric": "accuracy", "goal": "max"}],
        "budget": {"trials": 4},
        "runner": {"kind": "local"},
    }
    retrain = {"estimator": {"kind": "training"}}
    run = cycle(others, {**SPEC, "search": search, "retrain": retrain}, run="cheap", until="search")
    assert [replay(run, number).identical for number in range(4)] == [True] * 4


def test_metrics_that_are_no_figures_fail_as_they_did_the_first_time() -> None:
    def outcome(metrics: Any) -> tuple[Status, str]:
        again = Repetition([Trial(number=0, architecture=(0,))], ["accuracy"], {}, lambda *_: None)
        [trial] = again.ask(1)
        again.tell(trial.number, metrics, 1.0)
        return again.history[0].status, again.history[0].error.partition(":")[0]

    good: Metrics = {"accuracy": 1}
    assert outcome(good) == (Status.OK, "")
    assert outcome({"accuracy": float("nan")}) == (Status.FAILED, "nan")
    assert outcome({"loss": 1.0}) == (Status.FAILED, "metrics")
    assert outcome([1.0]) == (Status.FAILED, "metrics")
