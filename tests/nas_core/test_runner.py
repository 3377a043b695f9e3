from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from nas_core import registry
from nas_core.errors import InputError, OutsideError
from nas_core.interfaces import Estimator, Rung, Session
from nas_core.ledger import Ledger, verify
from nas_core.runner import LocalRunner
from nas_core.space import architectures, canonical
from nas_core.store import FolderStore, MemoryStore, Store
from nas_core.study import LedgerStudy
from nas_core.types import Architecture, Budget, Decision, Failure, Metrics, Objective, Proposal, Status, Trial

OBJECTIVES = (Objective(metric="accuracy", goal="max"),)


class Space:
    """How a logistic regression is trained: 12 ways."""

    decisions = (
        Decision(name="rate", options=("0.01", "0.1", "1", "1e308")),
        Decision(name="columns", options=("3", "10", "30")),
    )

    def build(self, architecture: Architecture) -> Any:
        raise RuntimeError(f"there is no network for {architecture}")


class Shuffled:
    """Unseen architectures in an order that depends on the seed and the length of the history."""

    def __init__(self, fidelities: Sequence[float] = (1.0,)) -> None:
        self.fidelities = fidelities

    def propose(self, history: Sequence[Trial], n: int) -> Sequence[Proposal]:
        rng = np.random.default_rng((3, len(history)))
        seen = {(canonical(Space(), trial.architecture), trial.fidelity) for trial in history}
        every = ((a, f) for a in architectures(Space(), rng) for f in self.fidelities)
        unseen = [Proposal(architecture=a, fidelity=f) for a, f in every if (a, f) not in seen]
        return unseen[:n]


class Regression:
    """Logistic regression by gradient descent on breast-cancer data; a checkpoint after every step."""

    steps = 4

    def __init__(self, pause: float = 0.0) -> None:
        x, self.y = load_breast_cancer(return_X_y=True)
        self.x = (x - x.mean(axis=0)) / x.std(axis=0)
        self.pause = pause

    def estimate(self, trial: Trial, session: Session) -> Metrics:
        rate = float(Space.decisions[0].options[trial.architecture[0]])
        x = self.x[:, : int(Space.decisions[1].options[trial.architecture[1]])]
        weights, done = np.zeros(x.shape[1]), 0
        if checkpoint := session.restore():
            weights = np.load(checkpoint / "weights.npy", allow_pickle=False)
            done = json.loads((checkpoint / "state.json").read_text())["step"]

        def save(folder: Path) -> None:
            np.save(folder / "weights.npy", weights, allow_pickle=False)
            (folder / "state.json").write_text(json.dumps({"step": step}))

        for step in range(done + 1, self.steps + 1):
            time.sleep(self.pause)
            rows = np.random.default_rng((trial.number, step)).choice(len(x), 50)
            with np.errstate(over="ignore", invalid="ignore"):
                logits = x[rows] @ weights
                error = 1 / (1 + np.exp(-logits)) - self.y[rows]
                weights = weights - rate * (x[rows].T @ error) / len(rows)
            if session.report(step, self.score(x, weights), save):
                break
        return self.score(x, weights)

    def score(self, x: np.ndarray, weights: np.ndarray) -> dict[str, float]:
        with np.errstate(all="ignore"):
            logits = x @ weights
        return {"accuracy": float(np.mean((logits > 0) == self.y)), "largest": float(np.abs(logits).max())}


class Below:
    """Stops at step 2 what is below the mean of all at that step."""

    def stop(self, history: Sequence[Trial], number: int) -> bool:
        step, metrics = history[number].curve[-1]
        others = [m["accuracy"] for trial in history for s, m in trial.curve if s == step]
        return step == 2 and metrics["accuracy"] < sum(others) / len(others)


class Calling:
    """An estimator made of a function."""

    def __init__(self, call: Callable[[Trial, Session], Any] = lambda *_: {"accuracy": 0.5}) -> None:
        self.call = call

    def estimate(self, trial: Trial, session: Session) -> Metrics:
        outcome: Metrics = self.call(trial, session)
        return outcome


class Table:
    """A batch estimator that remembers the sizes of its batches and chokes on some architectures."""

    def __init__(self, batch: int = 4, poison: Iterable[Architecture] = ()) -> None:
        self.batch = batch
        self.poison = set(poison)
        self.sizes: list[int] = []

    def estimate_batch(self, trials: Sequence[Trial]) -> Sequence[Metrics | Failure]:
        self.sizes.append(len(trials))
        if any(trial.architecture in self.poison for trial in trials):
            raise MemoryError("too large")
        return [{"accuracy": sum(trial.architecture) / 10} for trial in trials]


def study_of(store: Store | None = None, *fidelities: float, **options: Any) -> LedgerStudy:
    return LedgerStudy(Ledger(store or MemoryStore()), Space(), OBJECTIVES, Shuffled(fidelities or (1.0,)), **options)


def run(study: LedgerStudy, estimator: Any, trials: int | None = None, **options: Any) -> LedgerStudy:
    LocalRunner(**options).run(study, [Rung(1.0, estimator)], Budget(trials=trials))
    return study


# ---------------------------------------------------------------- trainings


def test_a_search_runs_until_the_space_is_exhausted() -> None:
    study = run(study_of(stopper=Below()), Regression())
    assert study.exhausted
    assert len(study.history) == 12
    best = max(trial.metrics["accuracy"] for trial in study.history if trial.metrics)
    assert best > 0.9
    assert {trial.status for trial in study.history} == {Status.OK, Status.PRUNED, Status.FAILED}
    assert {trial.error for trial in study.history if trial.error} == {"nan: largest is nan"}


def test_trials_run_one_by_one_with_the_outcome_of_all_before() -> None:
    statuses: list[list[Status]] = []
    study = study_of()
    run(study, Calling(lambda *_: statuses.append([trial.status for trial in study.history])), 3)
    assert statuses == [[Status.FAILED] * n + [Status.PENDING] for n in range(3)]


def test_the_budget_counts_trials_of_earlier_calls_but_no_priors() -> None:
    prior = Trial(number=0, architecture=(0, 0), origin="earlier#0", status=Status.OK, metrics={"accuracy": 0.1})
    study = study_of(priors=[prior])
    run(study, Calling(), 2)
    run(study, Calling(), 2)
    run(study, Calling(), 3)
    assert len(study.history) == 1 + 3


def test_a_budget_of_seconds_ends_the_search() -> None:
    study = study_of()
    LocalRunner().run(study, [Rung(1.0, Calling(lambda *_: time.sleep(0.05)))], Budget(seconds=0.12))
    assert 1 <= len(study.history) <= 3
    assert all(trial.status is not Status.PENDING for trial in study.history)


def test_what_it_took_is_the_trials_cost() -> None:
    study = run(study_of(), Calling(lambda *_: time.sleep(0.03)), 1)
    assert 0.03 <= study.history[0].cost_seconds < 3


@pytest.mark.parametrize(
    ("call", "status", "reason"),
    [
        (lambda trial, _: Space().build(trial.architecture), Status.FAILED, "build: RuntimeError: there is no network"),
        (lambda *_: np.empty(1 << 60, dtype=np.uint8), Status.INFEASIBLE, "oom: "),
        (lambda _, session: session.report(1, {"accuracy": float("nan")}), Status.FAILED, "nan: accuracy is nan"),
        (lambda *_: 1 / 0, Status.FAILED, "error: ZeroDivisionError: division by zero"),
        (lambda *_: {"loss": 0.1}, Status.FAILED, "metrics: accuracy missing, got loss"),
    ],
)
def test_what_an_estimator_raises_is_its_trials_outcome(
    call: Callable[[Trial, Session], Any], status: Status, reason: str
) -> None:
    study = run(study_of(), Calling(call), 2)
    assert [trial.status for trial in study.history] == [status] * 2
    assert all(trial.error.startswith(reason) for trial in study.history)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), OutsideError("storage: full")])
def test_an_interrupted_trial_is_pending_and_the_next_study_runs_it(error: BaseException) -> None:
    store = MemoryStore()

    def interrupt(trial: Trial, _: Session) -> Metrics:
        if trial.number == 1:
            raise error
        return {"accuracy": 0.5}

    with pytest.raises(type(error)):
        run(study_of(store), Calling(interrupt), 4)
    assert [trial.status for trial in study_of(store).history] == [Status.OK, Status.PENDING]
    study = run(study_of(store), Calling(), 4)
    assert [trial.number for trial in study.history if trial.status is Status.OK] == [0, 1, 2, 3]


def test_pending_trials_are_run_though_the_budget_is_given_out() -> None:
    store = MemoryStore()
    study_of(store).ask(2)
    study = run(study_of(store), Calling(), 2)
    assert [trial.status for trial in study.history] == [Status.OK] * 2


def test_progress_is_told_with_every_trial_that_ended() -> None:
    told: list[Trial] = []
    study = run(study_of(), Calling(), 3, on_progress=told.append)
    assert told == list(study.history)


def test_a_device_that_was_named_is_passed_on() -> None:
    devices: list[str] = []
    run(study_of(), Calling(lambda _, session: devices.append(session.device)), 1, device="cuda:1")
    assert devices == ["cuda:1"]


def test_the_automatic_device_is_one_that_torch_has() -> None:
    import torch

    assert LocalRunner().device == ("cuda" if torch.cuda.is_available() else "cpu")


# ---------------------------------------------------------------- stoppers


@pytest.mark.parametrize("stopper", registry.names("stoppers"))
def test_a_registered_stopper_ends_trials_with_their_last_report(stopper: str) -> None:
    store = MemoryStore()
    study = run(study_of(store, stopper=registry.load("stoppers", stopper)(OBJECTIVES)), Regression())
    pruned = [trial for trial in study.history if trial.status is Status.PRUNED]
    assert pruned
    for trial in pruned:
        assert trial.metrics == trial.curve[-1][1]
        assert len(trial.curve) < Regression.steps
    assert any(trial.status is Status.OK and len(trial.curve) == Regression.steps for trial in study.history)
    told = {e.data["number"]: e.data["stop"] for e in Ledger(store).entries({"report"})}
    assert {number for number, stop in told.items() if stop} == {trial.number for trial in pruned}


# ---------------------------------------------------------------- time limits


def loops(trial: Trial, session: Session) -> Metrics:
    """Trial 1 never ends."""
    session.report(1, {"accuracy": 0.2}, saves)
    while trial.number == 1:
        time.sleep(0.001)
    return {"accuracy": 0.5}


def in_a_thread(call: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


@pytest.mark.parametrize("somewhere", [lambda call: call(), in_a_thread], ids=["main thread", "another"])
def test_a_trial_that_takes_too_long_fails_and_the_search_goes_on(
    tmp_path: Path, somewhere: Callable[[Callable[[], Any]], LedgerStudy]
) -> None:
    study = somewhere(lambda: run(study_of(), Calling(loops), 4, folder=tmp_path, timeout=0.3))
    assert [trial.status for trial in study.history] == [Status.OK, Status.FAILED, Status.OK, Status.OK]
    late = study.history[1]
    assert late.error == "timeout: took more than 0.3 s"
    assert late.curve == ((1, {"accuracy": 0.2}),), "what it reported in time is on record"
    assert late.cost_seconds >= 0.3
    assert (tmp_path / "weights" / "1" / "0-1").is_dir()


def test_a_limit_that_comes_amid_a_report_leaves_study_and_record_at_one() -> None:
    def chatters(_: Trial, session: Session) -> Metrics:
        for step in count(1):
            session.report(step, {"accuracy": 0.1})
        raise AssertionError("it never ends")

    store = MemoryStore()
    study = run(study_of(store), Calling(chatters), 12, timeout=0.02)
    assert {trial.error for trial in study.history} == {"timeout: took more than 0.02 s"}
    assert len(study.history) == 12
    assert study_of(store).history == study.history
    assert all(trial.curve for trial in study.history)
    verify(store, None)


def test_no_limit_is_no_limit() -> None:
    study = run(study_of(), Calling(lambda *_: time.sleep(0.05) or {"accuracy": 0.5}), 2, timeout=None)
    assert [trial.status for trial in study.history] == [Status.OK] * 2


def test_cheap_estimates_in_batches_have_no_limit() -> None:
    class Slow(Table):
        def estimate_batch(self, trials: Sequence[Trial]) -> Sequence[Metrics | Failure]:
            time.sleep(0.1)
            return super().estimate_batch(trials)

    study = run(study_of(), Slow(), 4, timeout=0.01)
    assert [trial.status for trial in study.history] == [Status.OK] * 4


# ---------------------------------------------------------------- checkpoints


def saves(folder: Path) -> None:
    (folder / "state.json").write_text("{}")


def test_a_checkpoint_lies_where_the_contract_says_and_can_be_restored_by_number(tmp_path: Path) -> None:
    restored: list[tuple[Path | None, Path | None]] = []

    def call(_: Trial, session: Session) -> Metrics:
        restored.append((session.restore(), session.restore(0)))
        session.report(1, {"accuracy": 0.1}, saves)
        session.report(2, {"accuracy": 0.1}, saves)
        return {"accuracy": 0.5}

    run(study_of(), Calling(call), 2, folder=tmp_path)
    assert restored == [(None, None), (None, tmp_path / "weights" / "0" / "0-2")]


def test_a_resumed_trial_begins_at_its_checkpoint_as_a_new_attempt(tmp_path: Path) -> None:
    restored: list[Path | None] = []

    def call(_: Trial, session: Session) -> Metrics:
        restored.append(session.restore())
        session.report(1 + len(restored), {"accuracy": 0.1}, saves)
        if len(restored) < 3:
            raise KeyboardInterrupt
        return {"accuracy": 0.5}

    store = FolderStore(tmp_path)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(study_of(store), Calling(call), 1, folder=tmp_path)
    run(study_of(store), Calling(call), 1, folder=tmp_path)
    weights = tmp_path / "weights" / "0"
    assert restored == [None, weights / "0-2", weights / "1-3"]


def test_without_a_folder_checkpoints_live_as_long_as_the_run() -> None:
    places: list[Path | None] = []

    def call(_: Trial, session: Session) -> Metrics:
        session.report(1, {"accuracy": 0.1}, saves)
        place = session.restore()
        places.append(place)
        assert place is not None
        assert place.exists()
        return {"accuracy": 0.5}

    study = run(study_of(), Calling(call), 1)
    assert study.history[0].status is Status.OK
    (place,) = places
    assert place is not None
    assert not place.exists()


# ---------------------------------------------------------------- lanes


def test_a_batch_estimator_gets_batches_and_each_is_one_commit() -> None:
    store, table = MemoryStore(), Table(batch=5)
    study = run(study_of(store), table, 12)
    assert table.sizes == [5, 5, 2]
    assert len(store.keys()) == 2 * 3
    assert [trial.metrics for trial in study.history] == [
        {"accuracy": sum(trial.architecture) / 10} for trial in study.history
    ]


def test_one_that_spoils_a_batch_spoils_no_other() -> None:
    table = Table(batch=12, poison=[(1, 1)])
    study = run(study_of(), table, 12)
    (spoiled,) = [trial for trial in study.history if trial.status is not Status.OK]
    assert (spoiled.architecture, spoiled.error) == ((1, 1), "oom: too large")
    assert table.sizes == [12] + [1] * 12


def test_a_batch_estimator_that_drops_a_trial_fails_it() -> None:
    class Dropping(Table):
        def estimate_batch(self, trials: Sequence[Trial]) -> Sequence[Metrics | Failure]:
            return super().estimate_batch([trial for trial in trials if trial.architecture != (1, 1)])

    study = run(study_of(), Dropping(batch=12), 12)
    (dropped,) = [trial for trial in study.history if trial.status is not Status.OK]
    assert dropped.error == "error: ValueError: estimate_batch gave 0 outcomes for 1 trials"


def test_trials_go_to_the_lowest_rung_that_takes_their_fidelity() -> None:
    seen: dict[str, set[float]] = {"low": set(), "full": set()}

    def at(rung: str) -> Estimator:
        return Calling(lambda trial, _: seen[rung].add(trial.fidelity))

    table = Table()
    study = study_of(None, 0.05, 0.1, 0.3, 0.5, 1.0)
    rungs = [Rung(1.0, at("full")), Rung(0.1, table), Rung(0.5, at("low"))]
    LocalRunner().run(study, rungs, Budget())
    assert seen == {"low": {0.3, 0.5}, "full": {1.0}}
    assert {trial.fidelity for trial in study.history if trial.status is Status.OK} == {0.05, 0.1}
    assert sum(table.sizes) == 2 * 12


@pytest.mark.parametrize("rungs", [[], [Rung(0.5, Calling())]])
def test_a_ladder_without_full_fidelity_is_refused_before_anything_runs(rungs: Sequence[Rung]) -> None:
    study = study_of()
    with pytest.raises(InputError, match="rungs: the last must take trials of fidelity 1"):
        LocalRunner().run(study, rungs, Budget())
    assert len(study.history) == 0


# ---------------------------------------------------------------- a run that is killed


def search(folder: Path, pause: float = 0.0) -> LedgerStudy:
    study = study_of(FolderStore(folder), stopper=Below())
    return run(study, Regression(pause), folder=folder)


def results(study: LedgerStudy) -> list[tuple[Any, ...]]:
    return [(t.architecture, t.fidelity, t.status, t.metrics, t.curve, t.finished, t.error) for t in study.history]


def test_killed_again_and_again_a_search_ends_as_if_it_had_never_been(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = results(search(whole))
    rng = random.Random(11)
    store = FolderStore(killed)
    for _ in range(3):
        goal = len(store.keys("ledger/")) + rng.randrange(3, 16)
        with subprocess.Popen([sys.executable, __file__, str(killed)]) as process:
            while len(store.keys("ledger/")) < goal and process.poll() is None:
                time.sleep(0.002)
            time.sleep(rng.random() / 50)
            process.send_signal(signal.SIGKILL)
        verify(store, None)
    assert len(list(Ledger(store).entries({"outcome"}))) < 12, "killed too late to show anything"
    assert results(search(killed)) == expected
    assert [e.data["number"] for e in Ledger(store).entries({"outcome"})] == list(range(12))


if __name__ == "__main__":
    search(Path(sys.argv[1]), pause=0.01)
