from __future__ import annotations

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
