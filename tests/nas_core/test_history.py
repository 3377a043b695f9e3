from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nas_core.errors import IntegrityError
from nas_core.history import KINDS, History, trial_from_json, trial_to_json
from nas_core.ledger import Ledger
from nas_core.store import MemoryStore
from nas_core.types import Status, Trial

PROPOSAL = {"architecture": [1, 0], "fidelity": 0.5, "parents": [], "why": {}}
PROPOSALS = ("proposals", {"first": 0, "accepted": [PROPOSAL, PROPOSAL], "refused": []})
REPORT = ("report", {"number": 1, "step": 3, "metrics": {"accuracy": 0.4}, "stop": True})
OUTCOME = (
    "outcome",
    {"number": 1, "status": "pruned", "metrics": {"accuracy": 0.4}, "cost_seconds": 2.0, "finished": 0},
)
PRIOR = Trial(
    number=4,
    architecture=(1, 2),
    fidelity=0.25,
    parents=(3,),
    origin="earlier#4",
    status=Status.PRUNED,
    finished=9,
    curve=((1, {"accuracy": 0.1}), (2, {"accuracy": 0.2})),
    metrics={"accuracy": 0.2},
    cost_seconds=1.5,
)


RETRY = ("retry", {"number": 0, "reason": "worker: gone", "cost_seconds": 4.0})
RESUMED = ("resumed", {"trials": [{"number": 0, "cost_seconds": 3.0}, {"number": 1, "cost_seconds": 0.5}]})


def ledger_of(*drafts: tuple[str, dict[str, Any]]) -> Ledger:
    ledger = Ledger(MemoryStore())
    for kind, data in drafts:
        ledger.append(kind, data)
    return ledger


def test_it_folds_from_the_ledger_alone() -> None:
    history = History(ledger_of(("cycle-started", {}), PROPOSALS, REPORT, OUTCOME).entries())
    assert history.trials == [
        Trial(number=0, architecture=(1, 0), fidelity=0.5),
        Trial(
            number=1,
            architecture=(1, 0),
            fidelity=0.5,
            status=Status.PRUNED,
            finished=0,
            curve=((3, {"accuracy": 0.4}),),
            metrics={"accuracy": 0.4},
            cost_seconds=2.0,
        ),
    ]
    assert (history.pending, history.stopping, history.ended) == ({0}, {1}, 1)


def test_each_entry_tells_which_trials_it_changed() -> None:
    history = History()
    ledger = ledger_of(("gate", {}), PROPOSALS, REPORT, OUTCOME)
    assert [history.apply(entry) for entry in ledger.entries()] == [[], [0, 1], [1], [1]]
    assert [history.recorded(number).seq for number in (0, 1)] == [1, 3]


def test_it_is_dry_from_a_call_that_brought_nothing_until_a_trial_changes() -> None:
    nothing = ("proposals", {"first": 2, "accepted": [], "refused": [{**PROPOSAL, "reason": "a twin"}]})
    drafts = [PROPOSALS, nothing, REPORT, nothing, OUTCOME]
    history = History()
    dry = []
    for entry in ledger_of(*drafts).entries(KINDS):
        history.apply(entry)
        dry.append(history.dry)
    assert dry == [False, True, False, True, False]


@pytest.mark.parametrize(
    ("drafts", "entry"),
    [
        ([PROPOSALS, PROPOSALS], 1),
        ([REPORT], 0),
        ([PROPOSALS, OUTCOME, OUTCOME], 2),
        ([PROPOSALS, OUTCOME, REPORT], 2),
        ([PROPOSALS, ("priors", {"trials": []})], 1),
        ([PROPOSALS, OUTCOME, ("retry", {**RETRY[1], "number": 1})], 2),
        ([PROPOSALS, OUTCOME, RESUMED], 2),
        ([RETRY], 0),
    ],
)
def test_entries_that_do_not_follow_are_named(drafts: list[tuple[str, dict[str, Any]]], entry: int) -> None:
    with pytest.raises(IntegrityError) as caught:
        History(ledger_of(*drafts).entries())
    assert caught.value.entry == entry


def test_a_prior_is_renumbered_and_otherwise_the_same() -> None:
    entry = ledger_of(("priors", {"trials": [trial_to_json(PRIOR)]})).entries()
    (read,) = History(entry).trials
    assert read == trial_from_json(0, trial_to_json(PRIOR))
    assert (read.number, read.finished, read.parents) == (0, 0, ())
    same = ("architecture", "fidelity", "origin", "status", "curve", "metrics", "cost_seconds", "error")
    assert [getattr(read, name) for name in same] == [getattr(PRIOR, name) for name in same]


# ---------------------------------------------------------------- attempts and what they cost


class Times:
    """A clock that gives these seconds after a moment, one after another."""

    def __init__(self, *seconds: float) -> None:
        self.left = list(seconds)

    def __call__(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.left.pop(0))


def timed(*drafts: tuple[float, tuple[str, dict[str, Any]]]) -> History:
    """Return the history of entries that were each written at so many seconds."""
    ledger = Ledger(MemoryStore(), clock=Times(*(seconds for seconds, _ in drafts)))
    for _, (kind, data) in drafts:
        ledger.append(kind, data)
    return History(ledger.entries())


def test_every_end_of_an_attempt_is_another_attempt_and_adds_its_cost() -> None:
    ledger = ledger_of(PROPOSALS, RETRY, RESUMED, REPORT, OUTCOME)
    history = History()
    assert [history.apply(entry) for entry in ledger.entries()] == [[0, 1], [0], [0, 1], [1], [1]]
    zero, one = history.trials
    assert (zero.attempt, zero.cost_seconds, zero.status) == (2, 7.0, Status.PENDING)
    assert (one.attempt, one.cost_seconds, one.status) == (1, 2.5, Status.PRUNED)
    assert history.trial_seconds == 9.5
    assert (history.faults(0), history.faults(1)) == (1, 0), "a process that was killed is no fault of the machine"
    assert [history.recorded(number).seq for number in (0, 1)] == [2, 4]


def test_a_prior_costs_this_search_nothing() -> None:
    history = History(ledger_of(("priors", {"trials": [trial_to_json(PRIOR)]})).entries())
    assert (history.trials[0].cost_seconds, history.trial_seconds, history.begun) == (1.5, 0.0, False)


def test_an_unfinished_attempt_has_cost_the_time_until_the_newest_entry() -> None:
    assert timed((0, PROPOSALS)).unfinished() == [{"number": n, "cost_seconds": 0.0} for n in (0, 1)]
    assert timed((0, PROPOSALS), (7, REPORT)).unfinished() == [{"number": n, "cost_seconds": 7.0} for n in (0, 1)]
    told = timed((0, PROPOSALS), (4, RETRY), (7, REPORT), (9, OUTCOME), (11.5, ("gate", {})))
    assert told.unfinished() == [{"number": 0, "cost_seconds": 5.0}], "the second attempt began at the retry"
    resumed = timed((0, PROPOSALS), (7, REPORT), (100, RESUMED), (103, REPORT))
    assert resumed.unfinished() == [{"number": n, "cost_seconds": 3.0} for n in (0, 1)]


def test_wall_clock_leaves_out_what_lay_between_two_processes() -> None:
    assert timed((5, PROPOSALS)).seconds == 0
    assert timed((5, PROPOSALS), (7, REPORT), (10, RETRY)).seconds == 5
    assert timed((5, PROPOSALS), (7, REPORT), (1000, RESUMED), (1004, OUTCOME)).seconds == 6
    assert timed((5, PROPOSALS), (900, ("gate", {})), (901, REPORT)).seconds == 896, "other kinds are not a study's"


def test_a_clock_that_was_set_back_takes_nothing_back() -> None:
    history = timed((100, PROPOSALS), (50, REPORT), (60, OUTCOME))
    assert history.seconds == 10
    assert history.unfinished() == [{"number": 0, "cost_seconds": 0.0}]
