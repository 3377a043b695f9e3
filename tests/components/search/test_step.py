from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import yaml
from mlflow.tracking import MlflowClient

from components.backends.mlflow_tracking import tracking_uri
from components.data_prep.step import main as data_prep
from components.drift.step import main as drift
from components.progress import read_events
from components.run import Run
from components.search.step import Standing, main
from nas_core import objectives as order
from nas_core.ledger import Ledger
from nas_core.types import Metrics, Objective, Status, Trial

ACCURACY = (Objective(metric="accuracy", goal="max"), Objective(metric="params", goal="min", limit=100))


@pytest.fixture
def handler() -> Iterator[None]:
    """The step takes over SIGTERM; the tests get it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def trial(number: int, status: Status = Status.OK, accuracy: float = 0.5, **changes: float) -> Trial:
    metrics: Metrics | None = {"accuracy": accuracy, "params": changes.get("params", 50.0)}
    fidelity = changes.get("fidelity", 1.0)
    return Trial(
        number=number,
        architecture=(number,),
        status=status,
        fidelity=fidelity,
        metrics=metrics if status == "ok" else None,
    )


def told(trials: Sequence[Trial]) -> Standing:
    """Return how the search stands after `trials`, each told when it ended."""
    standing = Standing(ACCURACY)
    for number, change in enumerate(trials):
        assert standing.take(trials[: number + 1], change) is (change.status is not Status.PENDING)
    return standing


# ---------------------------------------------------------------- the step


def test_every_candidate_is_a_run_in_mlflow_with_the_hash_of_its_entry(stepped: Run) -> None:
    client = MlflowClient(tracking_uri(stepped.spec.tracking, stepped.root))
    experiment = client.get_experiment_by_name("tumour").experiment_id
    runs = client.search_runs([experiment], "tags.`evernas.kind` = 'candidate' and tags.`evernas.run` = 'one'")
    outcomes = [entry.hash for entry in Ledger(stepped.store).entries({"outcome"})]
    assert len(outcomes) == stepped.results()["search"]["candidates"] == 4
    assert {run.data.tags["evernas.ledger_hash"] for run in runs} == set(outcomes)
    assert len(runs) == 4


def test_its_progress_counts_the_candidates_and_names_the_best(stepped: Run) -> None:
    events = [event for event in read_events(stepped.progress.path)[0] if event.stage == "search"]
    assert [event.data["done"] for event in events if event.kind == "advance"] == [1, 2, 3, 4]
    best = stepped.results()["search"]["metrics"]["accuracy"]
    assert events[-2].data["text"].startswith(f"best accuracy {best:.5g}  ")
    assert (events[0].kind, events[-1].kind) == ("begin", "end")


@pytest.mark.usefixtures("handler")
def test_done_again_it_returns_what_is_on_record(stepped: Run) -> None:
    before = Ledger(stepped.store).head
    assert main(str(stepped.root), "one") == stepped.results()["search"]
    assert Ledger(stepped.store).head == before


@pytest.mark.usefixtures("handler")
def test_sigterm_becomes_an_exception_so_that_engines_are_closed_on_the_way_out(stepped: Run) -> None:
    main(str(stepped.root), "one")
    with pytest.raises(SystemExit) as caught:
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 143


@pytest.mark.usefixtures("handler")
def test_a_search_that_ends_early_says_so(stepped: Run, tumour_document: dict[str, Any]) -> None:
    space = {"kind": "chain", "max_depth": 1, "widths": [8], "numeric": ["linear"], "activations": ["relu"]}
    space |= {"normalisations": ["none"], "dropouts": [0.0]}
    spec = {**tumour_document, "search": {**tumour_document["search"], "space": space, "budget": {"trials": 50}}}
    root = str(stepped.root)
    assert drift(root, "small", yaml.safe_dump(spec), root, False) == "search"
    data_prep(root, "small")
    count = main(root, "small")["candidates"]
    notes = [
        event.data["text"]
        for event in read_events(stepped.root / "small" / "progress.jsonl")[0]
        if event.kind == "note"
    ]
    assert notes == [f"ended early: after {count} candidates there is nothing new to propose"]


# ---------------------------------------------------------------- how far it is


def test_standing_follows_the_trials_that_end() -> None:
    standing = told([trial(0, accuracy=0.5), trial(1, Status.PENDING), trial(2, Status.FAILED), trial(3, accuracy=0.7)])
    assert standing.ended == 3
    assert str(standing) == "best accuracy 0.7, params 50"


def test_standing_begins_with_what_an_interrupted_search_has_done() -> None:
    history = [trial(0, accuracy=0.9), trial(1, Status.FAILED), trial(2, Status.PENDING), trial(3)]
    standing = Standing(ACCURACY)
    standing.take(history, history[3])
    assert standing.ended == 3
    assert str(standing) == "best accuracy 0.9, params 50"


def test_trials_that_end_together_count_once_each() -> None:
    """They are told one after another, when all have ended."""
    history = [trial(0), trial(1), trial(2)]
    standing = Standing(ACCURACY)
    for change in history:
        standing.take(history, change)
    assert standing.ended == 3


def test_without_a_candidate_within_the_limits_there_is_no_best() -> None:
    assert str(told([trial(0, params=200.0), trial(1, fidelity=0.5), trial(2, Status.LOST)])) == ""


def test_equal_candidates_leave_the_first_one_best() -> None:
    standing = told([trial(0), trial(1)])
    assert standing.best
    assert standing.best.number == 0


def test_its_cost_a_trial_does_not_grow_with_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    best = order.best

    def counting(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Trial | None:
        compared.append(len(trials))
        return best(trials, objectives)

    monkeypatch.setattr(order, "best", counting)
    history: list[Trial] = []
    standing = Standing(ACCURACY)
    for number in range(50):
        history.append(trial(number))
        standing.take(history, history[-1])
    assert max(compared) == 2
