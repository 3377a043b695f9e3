from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from components.backends import mirror as module
from components.backends.mirror import Mirror, mirror
from components.backends.mlflow_tracking import Candidate, Tracker, tracking_uri
from components.spec import TrackingSpec
from nas_core.errors import OutsideError
from nas_core.failures import failure
from nas_core.store import MemoryStore
from nas_core.types import Status, Trial
from tests.components.backends.mlflow_server import Server, mlflow_server, wait_until

LOCAL = TrackingSpec()


class Recorder(Tracker):
    """Keeps candidates where a tracker would send them."""

    def __init__(self, fails: Callable[[], bool] = lambda: False) -> None:
        super().__init__(LOCAL, Path(), "demo", "demo-1")
        self.taken: list[Candidate] = []
        self.fails = fails

    def mirror(self, candidate: Candidate) -> None:
        if self.fails():
            raise OutsideError("MLflow: ConnectionError: refused")
        self.taken.append(candidate)

    def has(self, count: int) -> bool:
        return len(self.taken) == count


def candidates(uri: str, experiment: str = "demo") -> list[Run]:
    client = MlflowClient(uri)
    place = client.get_experiment_by_name(experiment)
    found = client.search_runs([place.experiment_id], "tags.`evernas.kind` = 'candidate'", max_results=1000)
    return sorted(found, key=lambda run: int(run.data.tags["evernas.trial"]))


# ---------------------------------------------------------------- what is mirrored


def test_every_outcome_of_a_study_is_one_child_run_with_the_hash_of_its_entry(studies: Any, root: Path) -> None:
    study = studies.open()
    studies.play(study, 5)
    tracker = Tracker(LOCAL, root, "demo", "demo-1")
    for _ in range(2):
        assert mirror(tracker, studies.ledger.entries(), studies.names) == 5
    runs = candidates(tracking_uri(LOCAL, root))
    outcomes = list(studies.ledger.entries({"outcome"}))
    assert [run.data.tags["evernas.ledger_hash"] for run in runs] == [entry.hash for entry in outcomes]
    assert [int(run.data.tags["evernas.ledger_seq"]) for run in runs] == [entry.seq for entry in outcomes]
    for run, trial in zip(runs, study.history, strict=True):
        identity, decisions = studies.names(trial.architecture)
        assert run.data.tags["evernas.architecture"] == identity
        assert run.data.params["depth"] == decisions["depth"]
        assert run.data.metrics == {"accuracy": 0.2, "loss": 0.5, "params": 7.0, "cost_seconds": 0.25}


def test_a_curve_has_the_times_of_its_reports(studies: Any) -> None:
    study, recorder = studies.open(), Recorder()
    studies.play(study, 1, epochs=3)
    mirror(recorder, studies.ledger.entries(), studies.names)
    [found] = recorder.taken
    begun, *reports, end = (module.milliseconds(entry) for entry in studies.ledger.entries())
    assert (found.start, found.end) == (begun, end)
    points = [point for point in found.points if point[0] == "accuracy"]
    assert [(time, step) for _, _, time, step in points] == list(zip(reports, (1, 2, 3), strict=True))


def test_a_final_metric_is_a_point_of_its_own_where_it_differs_from_the_last_report(studies: Any) -> None:
    study, recorder = studies.open(), Recorder()
    [trial] = study.ask(1)
    study.report(trial.number, 5, {"accuracy": 0.5, "loss": 1.0})
    study.tell(trial.number, {"accuracy": 0.75, "loss": 1.0}, 1.0)
    mirror(recorder, studies.ledger.entries(), studies.names)
    assert [(name, value, step) for name, value, _, step in recorder.taken[0].points] == [
        ("accuracy", 0.5, 5),
        ("loss", 1.0, 5),
        ("accuracy", 0.75, 5),
        ("cost_seconds", 1.0, 5),
    ]


def test_only_what_came_out_looks_finished(studies: Any) -> None:
    class Stop:
        def stop(self, _history: list[Trial], number: int) -> bool:
            return number == 1

    study, recorder = studies.open(stopper=Stop()), Recorder()
    first, second, third, _ = study.ask(4)
    study.tell(first.number, {"accuracy": 0.5}, 1.0)
    study.report(second.number, 1, {"accuracy": 0.25})
    study.tell(second.number, {"accuracy": 0.5}, 1.0)
    study.tell(third.number, failure(Status.FAILED, "nan", "loss is nan"), 1.0)
    assert mirror(recorder, studies.ledger.entries(), studies.names) == 3
    shown = [(c.failed, c.tags["evernas.status"], c.tags.get("evernas.error")) for c in recorder.taken]
    assert shown == [(False, "ok", None), (False, "pruned", None), (True, "failed", "nan: loss is nan")]


# ---------------------------------------------------------------- while a search runs


def test_it_follows_a_growing_ledger_and_ends_complete(studies: Any) -> None:
    study, recorder, began = studies.open(), Recorder(), time.monotonic()
    with Mirror(recorder, studies.ledger, studies.names, pytest.fail) as following:
        for _ in range(20):
            studies.play(study, 1)
            following.wake()
    assert [candidate.number for candidate in recorder.taken] == list(range(20))
    assert time.monotonic() - began < module._LAST_TRY_SECONDS / 2


def test_what_is_written_while_it_works_is_not_forgotten_at_the_end(studies: Any) -> None:
    """The end comes while a candidate is on its way; what was committed since its round began needs another."""
    study = studies.open()

    class Slow(Recorder):
        def mirror(self, candidate: Candidate) -> None:
            time.sleep(0.1)
            super().mirror(candidate)

    recorder = Slow()
    with Mirror(recorder, studies.ledger, studies.names, pytest.fail) as following:
        studies.play(study, 1)
        following.wake()
        time.sleep(0.05)
        studies.play(study, 3)
    assert len(recorder.taken) == 4


def test_following_reads_every_object_once(studies: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study, recorder = studies.open(), Recorder()
    reads: list[str] = []
    read = MemoryStore.read

    def counted(store: MemoryStore, key: str) -> bytes:
        data = read(store, key)
        reads.append(key)
        return data

    ledger = studies.ledger
    monkeypatch.setattr(MemoryStore, "read", counted)
    with Mirror(recorder, ledger, studies.names, pytest.fail) as following:
        for count in range(1, 11):
            studies.play(study, 1)
            following.wake()
            wait_until(partial(recorder.has, count))
    assert sorted(reads) == studies.store.keys()


def test_an_outage_is_told_once_and_made_good(studies: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_TRIES", 0.01)
    study = studies.open()
    told: list[str] = []
    down = True
    recorder = Recorder(fails=lambda: down)
    with Mirror(recorder, studies.ledger, studies.names, told.append) as following:
        studies.play(study, 3)
        following.wake()
        wait_until(lambda: bool(told))
        time.sleep(0.1)
        down = False
        wait_until(lambda: len(told) == 2)
    assert told == [
        "MLflow is behind, the search goes on: MLflow: ConnectionError: refused",
        "MLflow has caught up",
    ]
    assert [candidate.number for candidate in recorder.taken] == [0, 1, 2]


def test_a_server_that_hangs_holds_up_the_end_of_a_search_for_a_short_while_only(
    studies: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LAST_TRY_SECONDS", 0.2)

    def hang() -> bool:
        time.sleep(3)
        return False

    recorder = Recorder(fails=hang)
    studies.play(studies.open(), 1)
    began = time.monotonic()
    with Mirror(recorder, studies.ledger, studies.names, lambda _: None):
        pass
    assert time.monotonic() - began < 1


def test_a_broken_ledger_ends_it_with_a_word(studies: Any) -> None:
    studies.play(studies.open(), 1)
    key = studies.store.keys()[1]
    studies.store.replace(key, studies.store.read(key).replace(b"0.1", b"0.9"))
    told: list[str] = []
    with Mirror(Recorder(), studies.ledger, studies.names, told.append) as following:
        following.wake()
    assert len(told) == 1
    assert "changed after it was written" in told[0]


def test_a_space_that_cannot_be_named_ends_it_with_a_word(studies: Any) -> None:
    studies.play(studies.open(), 1)
    told: list[str] = []
    with Mirror(Recorder(), studies.ledger, {}.__getitem__, told.append) as following:  # type: ignore[arg-type]
        following.wake()
    assert len(told) == 1
    assert told[0].startswith("MLflow is no longer kept up to date: ")


def test_an_outage_keeps_a_place_in_the_ledger_and_nothing_else(studies: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is written meanwhile, one candidate waits; an entry in the middle of a commit is a place too."""
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_TRIES", 0.01)
    study, down, tries = studies.open(), True, 0

    def fails() -> bool:
        nonlocal tries
        tries += 1
        return down and tries > 2

    recorder = Recorder(fails)
    fold = module.Fold
    folded: list[int] = []

    class Counted(fold):  # type: ignore[misc, valid-type]
        def take(self, entry: Any) -> Any:
            folded.append(entry.seq)
            return super().take(entry)

    monkeypatch.setattr(module, "Fold", Counted)
    with Mirror(recorder, studies.ledger, studies.names, lambda _: None) as following:
        numbers = [trial.number for trial in study.ask(5)]
        study.tell_all([(number, {"accuracy": 0.5}, 1.0) for number in numbers])
        following.wake()
        wait_until(lambda: tries > 4)
        for _ in range(30):
            studies.play(study, 1)
            following.wake()
        seen = tries
        wait_until(lambda: tries > seen + 4)
        assert max(folded) == 3  # the third outcome of the first commit of outcomes
        down = False
        wait_until(partial(recorder.has, 35))
    assert [candidate.number for candidate in recorder.taken] == list(range(35))
    assert folded == sorted(set(folded))


def test_of_trials_that_ended_no_curve_is_kept(studies: Any) -> None:
    fold = module.Fold(studies.names)
    studies.play(studies.open(), 3)
    found = [candidate for entry in studies.ledger.entries() if (candidate := fold.take(entry))]
    assert [len(candidate.points) for candidate in found] == [6, 6, 6]
    assert not any(trial.curve or trial.metrics for trial in fold._history.trials)


def test_once_it_was_left_it_does_nothing_more(studies: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step that comes next mirrors the rest; two at a time would make runs twice."""
    monkeypatch.setattr(module, "_LAST_TRY_SECONDS", 0.05)
    hold = threading.Event()

    class Held(Recorder):
        def mirror(self, candidate: Candidate) -> None:
            hold.wait(10)
            super().mirror(candidate)

    recorder = Held()
    studies.play(studies.open(), 5)
    with Mirror(recorder, studies.ledger, studies.names, lambda _: None) as following:
        following.wake()
    hold.set()
    following._thread.join(10)
    assert [candidate.number for candidate in recorder.taken] == [0]


def test_trials_of_earlier_cycles_and_further_attempts_are_no_candidates_of_their_own(studies: Any) -> None:
    prior = Trial(number=0, architecture=(1, 1), origin="before#3", status=Status.OK, metrics={"accuracy": 0.5})
    study = studies.open(priors=[prior])
    [trial] = study.ask(1)
    study.report(trial.number, 1, {"accuracy": 0.25})
    study.retry(trial.number, failure(Status.LOST, "node", "it went away"), 2.0, 3)
    again = studies.open()
    [trial] = again.ask(1)
    again.report(trial.number, 2, {"accuracy": 0.5})
    again.tell(trial.number, {"accuracy": 0.5}, 1.0)
    [found] = module.candidates(studies.ledger.entries(), studies.names)
    assert (found.number, found.tags["evernas.attempt"]) == (1, "2")  # killed once, taken over once
    assert [(step, value) for name, value, _, step in found.points if name == "accuracy"] == [(1, 0.25), (2, 0.5)]


# ---------------------------------------------------------------- a real server


@pytest.fixture
def server(root: Path) -> Iterator[Server]:
    with mlflow_server(root) as server:
        yield server


def test_a_server_that_is_killed_in_mid_search_holds_nothing_up_and_lacks_nothing_later(
    studies: Any,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_TRIES", 0.1)
    spec = TrackingSpec(uri=server.uri)
    study = studies.open()
    told: list[str] = []
    with Mirror(Tracker(spec, tmp_path, "demo", "demo-1"), studies.ledger, studies.names, told.append) as following:
        studies.play(study, 4)
        following.wake()
        time.sleep(0.3)  # some are there, one is perhaps half done
        server.kill()
        studies.play(study, 4)
        following.wake()
        wait_until(lambda: bool(told))
    assert len(told) == 1
    assert "MLflow is behind, the search goes on" in told[0]
    server.start()
    later = Tracker(spec, tmp_path, "demo", "demo-1")
    assert mirror(later, studies.ledger.entries(), studies.names) == 8
    later.close("FINISHED")
    assert "View run" not in capfd.readouterr().out  # where a script may read JSON
    runs = candidates(server.uri)
    assert [run.data.tags["evernas.trial"] for run in runs] == [str(number) for number in range(8)]
    assert [run.data.tags["evernas.ledger_hash"] for run in runs] == [
        entry.hash for entry in studies.ledger.entries({"outcome"})
    ]
    for run in runs:
        assert run.info.status == "FINISHED"
        history = MlflowClient(server.uri).get_metric_history(run.info.run_id, "accuracy")
        assert [(point.step, point.value) for point in history] == [(1, 0.1), (2, 0.2)]
