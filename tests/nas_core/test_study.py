from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from nas_core.errors import OutsideError
from nas_core.history import KINDS
from nas_core.interfaces import Strategy
from nas_core.ledger import Ledger, verify
from nas_core.space import architectures, canonical
from nas_core.store import MemoryStore, Store
from nas_core.study import LedgerStudy
from nas_core.types import Architecture, Decision, Failure, Metrics, Objective, Proposal, Spent, Status, Trial

ACCURACY = (Objective(metric="accuracy", goal="max"),)


class Space:
    """20 architectures; the last decision counts only for the second and third option of the first."""

    decisions = (
        Decision(name="a", options=("x", "y", "z")),
        Decision(name="b", options=("0", "1", "2", "3")),
        Decision(name="c", options=("0", "1"), active_if=((0, frozenset({1, 2})),)),
    )

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


class Shuffled:
    """Unseen architectures in an order that depends on seed and length of the history, with the best as parent."""

    def propose(self, history: Sequence[Trial], n: int) -> Sequence[Proposal]:
        rng = np.random.default_rng((5, len(history)))
        seen = {canonical(Space(), trial.architecture) for trial in history}
        unseen = [a for a in architectures(Space(), rng) if a not in seen]
        finished = sorted((t.finished, t.number) for t in history if t.finished is not None)
        parents = tuple(number for _, number in finished[-1:])
        return [Proposal(architecture=a, parents=parents, why=(("rank", i),)) for i, a in enumerate(unseen[:n])]


class Scripted:
    """Gives the answers it was made with, one per call, then nothing; counts the calls."""

    def __init__(self, *answers: Sequence[Proposal]) -> None:
        self.answers = list(answers)
        self.calls = 0

    def propose(self, history: Sequence[Trial], n: int) -> Sequence[Proposal]:
        assert n > 0
        assert [trial.number for trial in history] == list(range(len(history)))
        self.calls += 1
        return self.answers.pop(0) if self.answers else []


class Filling(MemoryStore):
    """Refuses to store anything while it is full."""

    full = False

    def create(self, key: str, data: bytes) -> None:
        if self.full:
            raise OutsideError("storage: full")
        super().create(key, data)


class Below:
    """Stops what is below the mean of all at the same step, from the second report on."""

    def stop(self, history: Sequence[Trial], number: int) -> bool:
        step, metrics = history[number].curve[-1]
        others = [m["accuracy"] for trial in history for s, m in trial.curve if s == step]
        return step > 1 and metrics["accuracy"] < sum(others) / len(others)


def of(*architectures: Sequence[int], **changes: Any) -> list[Proposal]:
    return [Proposal(architecture=tuple(architecture), **changes) for architecture in architectures]


def study_of(strategy: Strategy, store: Store | None = None, **options: Any) -> LedgerStudy:
    return LedgerStudy(Ledger(store or MemoryStore()), Space(), ACCURACY, strategy, **options)


def recorded(store: Store, *kinds: str) -> list[dict[str, Any]]:
    return [entry.data for entry in Ledger(store).entries(kinds or None)]


# ---------------------------------------------------------------- asking


def test_trials_are_numbered_and_pending() -> None:
    study = study_of(Scripted(of((0, 1, 0), (1, 1, 1), fidelity=0.5, parents=())))
    assert list(study.ask(2)) == list(study.history)
    assert study.history == [
        Trial(number=0, architecture=(0, 1, 0), fidelity=0.5),
        Trial(number=1, architecture=(1, 1, 1), fidelity=0.5),
    ]


def test_a_call_of_the_strategy_is_one_entry_with_what_was_refused() -> None:
    store = MemoryStore()
    proposals = [*of((0, 1, 0), why=(("edit", "a"), ("gain", float("inf")))), *of((9, 0, 0))]
    study_of(Scripted(proposals), store).ask(2)
    (entry,) = recorded(store)
    good = {"architecture": [0, 1, 0], "fidelity": 1.0, "parents": [], "why": {"edit": "a", "gain": "inf"}}
    assert (entry["first"], entry["accepted"]) == (0, [good])
    assert "architecture.a: must be an int from 0 to 2" in entry["refused"][0]["reason"]


def test_nothing_is_handed_out_that_is_not_recorded() -> None:
    store = Filling()
    store.full = True
    study = study_of(Scripted(of((0, 1, 0))), store)
    with pytest.raises(OutsideError):
        study.ask(1)
    assert len(study.history) == 0


@pytest.mark.parametrize(
    ("proposal", "reason"),
    [
        (of((0, 0)), "must have one option per decision"),
        (of((0, 0, 1)), "must be 0 because an earlier choice makes it inactive"),
        (of((0, 1, 0)), "a twin of trial 0 at the same fidelity"),
        (of((2, 2, 0), parents=(1,)), "parents: must be trials of the history, got [1]"),
        (of((2, 2, 0), parents=(-1,)), "got [-1]"),
        (of((2, 2, 0), fidelity=0.0), "fidelity: must be in"),
        (of((2, 2, 0), fidelity=1.5), "fidelity: must be in"),
        (of((2, 2, 0), fidelity=float("nan")), "fidelity: must be in"),
    ],
)
def test_a_proposal_that_cannot_be_run_is_refused(proposal: list[Proposal], reason: str) -> None:
    store = MemoryStore()
    study = study_of(Scripted(of((0, 1, 0)), proposal), store)
    study.ask(1)
    assert list(study.ask(1)) == []
    (refused,) = recorded(store)[-1]["refused"]
    assert reason in refused["reason"]


def test_a_twin_within_one_call_is_refused() -> None:
    study = study_of(Scripted(of((0, 1, 0), (0, 1, 0), (0, 2, 0))))
    assert [trial.architecture for trial in study.ask(3)] == [(0, 1, 0), (0, 2, 0)]


def test_the_same_architecture_at_another_fidelity_is_another_trial() -> None:
    study = study_of(Scripted(of((0, 1, 0), fidelity=0.5), of((0, 1, 0), fidelity=1.0, parents=(0,))))
    study.ask(1)
    assert [trial.parents for trial in study.ask(1)] == [(0,)]


def test_more_than_was_asked_for_is_refused() -> None:
    store = MemoryStore()
    assert len(study_of(Scripted(of((0, 1, 0), (0, 2, 0))), store).ask(1)) == 1
    assert recorded(store)[0]["refused"][0]["reason"] == "only 1 were asked for"


def test_numbers_of_numpy_are_taken() -> None:
    half, quarter = np.array([0.5, 0.25], dtype=np.float32)
    proposal = Proposal(architecture=tuple(np.array([0, 1, 0])), fidelity=half, why=(("gain", quarter),))
    store = MemoryStore()
    assert study_of(Scripted([proposal]), store).ask(1) == [Trial(number=0, architecture=(0, 1, 0), fidelity=0.5)]
    assert recorded(store)[0]["accepted"][0]["why"] == {"gain": 0.25}


def test_a_strategy_with_nothing_new_is_asked_once_and_the_study_is_exhausted() -> None:
    strategy = Scripted(of((0, 1, 0)), of((0, 1, 0)))
    study = study_of(strategy)
    study.ask(1)
    assert [list(study.ask(1)) for _ in range(3)] == [[], [], []]
    assert strategy.calls == 2
    assert not study.exhausted
    study.tell(0, {"accuracy": 0.5}, 1.0)
    assert not study.exhausted
    assert list(study.ask(1)) == []
    assert study.exhausted


def test_a_strategy_that_waits_is_asked_again_when_the_history_has_changed() -> None:
    study = study_of(Scripted(of((0, 1, 0)), [], of((0, 2, 0))))
    study.ask(1)
    assert list(study.ask(1)) == []
    study.report(0, 1, {"accuracy": 0.1})
    assert len(study.ask(1)) == 1


@pytest.mark.parametrize("n", [0, -1])
def test_asking_for_nothing_gives_nothing(n: int) -> None:
    store = MemoryStore()
    assert list(study_of(Shuffled(), store).ask(n)) == []
    assert store.keys() == []


# ---------------------------------------------------------------- reports


def test_a_report_and_the_decision_on_it_are_one_entry() -> None:
    store = MemoryStore()
    study = study_of(Shuffled(), store, stopper=Below())
    study.ask(2)
    assert not study.report(0, 2, {"accuracy": 0.9})
    assert study.report(1, 2, {"accuracy": 0.1})
    assert recorded(store, "report")[1] == {"number": 1, "step": 2, "metrics": {"accuracy": 0.1}, "stop": True}


def test_the_stopper_sees_the_report_that_it_judges() -> None:
    seen: list[Trial] = []

    class Looking:
        def stop(self, history: Sequence[Trial], number: int) -> bool:
            seen.append(history[number])
            return False

    study = study_of(Shuffled(), stopper=Looking())
    study.ask(1)
    study.report(0, 1, {"accuracy": 0.1})
    study.report(0, 3, {"accuracy": 0.2})
    assert seen[-1].curve == ((1, {"accuracy": 0.1}), (3, {"accuracy": 0.2}))
    assert seen[-1] == study.history[0]


def test_known_steps_are_ignored() -> None:
    store = MemoryStore()
    study = study_of(Shuffled(), store)
    study.ask(1)
    for step in (2, 4, 1, 2, 3, 4):
        assert not study.report(0, step, {"accuracy": step / 10})
    assert study.history[0].curve == ((2, {"accuracy": 0.2}), (4, {"accuracy": 0.4}))
    assert len(recorded(store, "report")) == 2


def test_a_stopped_or_ended_trial_is_told_to_stop_whatever_it_reports() -> None:
    study = study_of(Shuffled(), stopper=Below())
    study.ask(3)
    study.report(0, 2, {"accuracy": 0.9})
    study.report(1, 2, {"accuracy": 0.1})
    study.tell(2, {"accuracy": 0.5}, 1.0)
    assert study.report(1, 1, {"accuracy": 0.1})
    assert study.report(1, 3, {"accuracy": 0.99})
    assert study.report(2, 1, {"accuracy": 0.1})
    assert study.history[1].curve == ((2, {"accuracy": 0.1}),)


def test_a_report_that_is_not_finite_is_refused_and_not_recorded() -> None:
    store = MemoryStore()
    study = study_of(Shuffled(), store)
    study.ask(1)
    with pytest.raises(FloatingPointError, match="loss is nan"):
        study.report(0, 1, {"loss": float("nan")})
    assert recorded(store, "report") == []


def test_a_report_that_could_not_be_recorded_has_not_happened() -> None:
    store = Filling()
    study = study_of(Shuffled(), store, stopper=Below())
    study.ask(1)
    store.full = True
    with pytest.raises(OutsideError):
        study.report(0, 2, {"accuracy": 0.1})
    assert study.history[0].curve == ()


# ---------------------------------------------------------------- outcomes


@pytest.mark.parametrize(
    ("outcome", "status", "metrics", "error"),
    [
        ({"accuracy": 0.5, "loss": 1}, Status.OK, {"accuracy": 0.5, "loss": 1.0}, ""),
        ({"loss": 1.0}, Status.FAILED, None, "metrics: accuracy missing, got loss"),
        ({"accuracy": float("nan")}, Status.FAILED, None, "nan: accuracy is nan"),
        ({"accuracy": 0.5, "loss": float("inf")}, Status.FAILED, None, "nan: loss is inf"),
        ({"accuracy": None}, Status.FAILED, None, "metrics: float() argument"),
        (None, Status.FAILED, None, "metrics: expected metrics by name, got NoneType"),
        (Failure(status=Status.INFEASIBLE, reason="oom: 2 GB"), Status.INFEASIBLE, None, "oom: 2 GB"),
        (Failure(status=Status.LOST, reason="node"), Status.LOST, None, "node"),
    ],
)
def test_an_outcome_becomes_a_status(outcome: Any, status: Status, metrics: Metrics | None, error: str) -> None:
    study = study_of(Shuffled())
    study.ask(1)
    study.tell(0, outcome, 2.5)
    trial = study.history[0]
    assert (trial.status, trial.metrics, trial.cost_seconds, trial.finished) == (status, metrics, 2.5, 0)
    assert trial.error.startswith(error)
    assert bool(trial.error) == bool(error)


@pytest.mark.parametrize("outcome", [{"accuracy": 0.99}, Failure(status=Status.FAILED, reason="error: late")])
def test_a_stopped_trial_is_pruned_with_its_last_report(outcome: Metrics | Failure) -> None:
    study = study_of(Shuffled(), stopper=Below())
    study.ask(2)
    study.report(0, 2, {"accuracy": 0.9})
    study.report(1, 2, {"accuracy": 0.1})
    study.tell(1, outcome, 1.0)
    assert (study.history[1].status, study.history[1].metrics) == (Status.PRUNED, {"accuracy": 0.1})


def test_finished_is_the_order_of_completion() -> None:
    study = study_of(Shuffled())
    study.ask(3)
    for number in (2, 0, 1):
        study.tell(number, {"accuracy": 0.5}, 1.0)
    assert [trial.finished for trial in study.history] == [1, 2, 0]


def test_many_outcomes_are_one_commit() -> None:
    store = MemoryStore()
    study = study_of(Shuffled(), store)
    study.ask(3)
    before = len(store.keys())
    study.tell_all([(n, {"accuracy": n / 10}, 1.0) for n in range(3)])
    assert len(store.keys()) == before + 1
    assert [trial.finished for trial in study.history] == [0, 1, 2]


def test_the_same_outcome_told_again_is_ignored() -> None:
    store = MemoryStore()
    study = study_of(Shuffled(), store)
    study.ask(2)
    oom = Failure(status=Status.INFEASIBLE, reason="oom")
    study.tell_all([(0, {"accuracy": 0.5}, 1.0), (0, {"accuracy": 0.5}, 1.0), (1, oom, 1.0)])
    study.tell(0, {"accuracy": 0.5}, 9.0)
    study.tell(1, oom, 9.0)
    assert [data["number"] for data in recorded(store, "outcome")] == [0, 1]


def test_another_outcome_for_an_ended_trial_is_an_error() -> None:
    study = study_of(Shuffled())
    study.ask(1)
    study.tell(0, {"accuracy": 0.5}, 1.0)
    for other in ({"accuracy": 0.6}, Failure(status=Status.LOST, reason="node")):
        with pytest.raises(ValueError, match="trial 0: ended ok"):
            study.tell(0, other, 1.0)


@pytest.mark.parametrize("number", [-1, 1, 100])
def test_an_unknown_number_is_an_error(number: int) -> None:
    study = study_of(Shuffled())
    study.ask(1)
    with pytest.raises(ValueError, match=f"trial {number}: not one of this study's 1"):
        study.tell(number, {"accuracy": 0.5}, 1.0)
    with pytest.raises(ValueError, match=f"trial {number}: not one of this study's 1"):
        study.report(number, 1, {"accuracy": 0.5})


def test_every_change_is_told_after_it_is_recorded() -> None:
    store = MemoryStore()
    told: list[tuple[int, Trial]] = []
    study = study_of(Shuffled(), store, on_change=lambda trial: told.append((Ledger(store).head.seq, trial)))
    study.ask(1)
    study.report(0, 1, {"accuracy": 0.1})
    study.tell(0, {"accuracy": 0.5}, 1.0)
    assert [(seq, trial.status, len(trial.curve)) for seq, trial in told] == [
        (0, Status.PENDING, 0),
        (1, Status.PENDING, 1),
        (2, Status.OK, 1),
    ]
    study_of(Shuffled(), store, on_change=lambda _: pytest.fail("what is replayed is not told"))


def test_a_trial_knows_its_newest_entry() -> None:
    store = MemoryStore()
    study = study_of(Shuffled(), store)
    study.ask(2)
    study.tell(1, {"accuracy": 0.5}, 1.0)
    proposals, outcome = Ledger(store).entries()
    for either in (study, study_of(Shuffled(), store)):
        assert either.recorded(0) == (proposals.seq, proposals.hash)
        assert either.recorded(1) == (outcome.seq, outcome.hash)


def test_threads_may_share_a_study() -> None:
    store = MemoryStore()
    study = study_of(Shuffled(), store)

    def work() -> None:
        while trials := study.ask(1):
            study.report(trials[0].number, 1, {"accuracy": 0.1})
            study.tell(trials[0].number, {"accuracy": 0.5}, 0.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert study.exhausted
    assert sorted(trial.finished for trial in study.history if trial.finished is not None) == list(range(20))
    verify(store, None)


# ---------------------------------------------------------------- priors and resuming

PRIORS = (
    Trial(
        number=7,
        architecture=(1, 1, 1),
        parents=(2,),
        origin="earlier#7",
        status=Status.OK,
        finished=30,
        curve=((1, {"accuracy": 0.2}),),
        metrics={"accuracy": 0.7},
        cost_seconds=3.0,
    ),
    Trial(number=9, architecture=(0, 3, 0), origin="earlier#9", status=Status.FAILED, error="nan: loss is nan"),
)


def test_priors_come_first_and_are_on_record() -> None:
    store = MemoryStore()
    study = study_of(Shuffled(), store, priors=PRIORS)
    first, second = study.history
    assert (first.number, first.finished, first.parents, first.origin) == (0, 0, (), "earlier#7")
    assert (first.metrics, first.curve, first.status) == (PRIORS[0].metrics, PRIORS[0].curve, Status.OK)
    assert (second.number, second.finished, second.error) == (1, 1, "nan: loss is nan")
    (trial,) = study.ask(1)
    study.tell(trial.number, {"accuracy": 0.5}, 1.0)
    assert (trial.number, study.history[2].finished) == (2, 2)
    assert [entry.kind for entry in Ledger(store).entries()] == ["priors", "proposals", "outcome"]


def test_a_study_keeps_the_priors_that_it_began_with() -> None:
    store = MemoryStore()
    study = study_of(Shuffled(), store, priors=PRIORS)
    assert study_of(Shuffled(), store, priors=PRIORS[:1]).history == study.history
    assert study_of(Shuffled(), store).history == study.history


def test_a_prior_may_be_tried_again_and_cannot_be_told() -> None:
    study = study_of(Scripted(of((1, 1, 1), parents=(0,))), priors=PRIORS)
    assert [trial.number for trial in study.ask(1)] == [2]
    with pytest.raises(ValueError, match="trial 0: not one of this study's"):
        study.tell(0, {"accuracy": 0.5}, 1.0)


@pytest.mark.parametrize("wrong", [{"origin": ""}, {"status": Status.PENDING}])
def test_priors_need_an_origin_and_an_end(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="priors: must have an origin and an end"):
        study_of(Shuffled(), priors=[Trial(**{"number": 0, "architecture": (0, 0, 0), "origin": "a#0", **wrong})])


def drive(study: LedgerStudy, trials: int = 15) -> None:
    """Run the study as one worker would, three trials at a time; what a trial brings depends on its architecture."""
    while (left := trials - sum(trial.status is not Status.PENDING for trial in study.history)) > 0:
        for trial in study.ask(min(3, left)):
            study.tell(trial.number, outcome_of(study, trial), 1.0)


def outcome_of(study: LedgerStudy, trial: Trial) -> Metrics | Failure:
    a, b, c = trial.architecture
    if b == 3:
        return Failure(status=Status.FAILED, reason="error: odd")
    for step in (1, 2, 3):
        if study.report(trial.number, step, {"accuracy": (a + b + c) / 10 + step / 100}):
            break
    return {"accuracy": (a + b + c) / 10}


def without_attempts(trials: Sequence[Trial]) -> list[Trial]:
    return [replace(trial, attempt=0, cost_seconds=0.0) for trial in trials]


def test_cut_at_any_object_and_resumed_the_record_is_the_same() -> None:
    """But for who took over where, and what the attempts that were cut off have cost."""
    whole = MemoryStore()
    study = study_of(Shuffled(), whole, stopper=Below(), priors=PRIORS)
    drive(study)
    statuses = {trial.status for trial in study.history}
    assert statuses == {Status.OK, Status.PRUNED, Status.FAILED}
    objects = whole.keys()
    for length in range(len(objects) + 1):
        cut = MemoryStore()
        for key in objects[:length]:
            cut.create(key, whole.read(key))
        resumed = study_of(Shuffled(), cut, stopper=Below(), priors=PRIORS)
        drive(resumed)
        assert without_attempts(resumed.history) == without_attempts(study.history), length
        kinds = KINDS - {"resumed"}
        assert recorded(cut, *kinds) == recorded(whole, *kinds), length
        taken_over = len(recorded(cut, "resumed"))
        assert taken_over == (2 <= length < len(objects)), "once it has begun and if there was more to do"


def test_pending_trials_of_a_killed_run_come_first_alone_and_once() -> None:
    store = MemoryStore()
    killed = study_of(Shuffled(), store)
    killed.ask(3)
    killed.tell(1, {"accuracy": 0.5}, 1.0)
    study = study_of(Shuffled(), store)
    assert [trial.number for trial in study.ask(1)] == [0]
    assert [trial.number for trial in study.ask(5)] == [2]
    assert [trial.number for trial in study.ask(1)] == [3]


def test_a_study_that_was_stopped_while_it_stops_a_trial_still_stops_it() -> None:
    store = MemoryStore()
    killed = study_of(Shuffled(), store, stopper=Below())
    killed.ask(2)
    killed.report(0, 2, {"accuracy": 0.9})
    killed.report(1, 2, {"accuracy": 0.1})
    study = study_of(Shuffled(), store, stopper=Below())
    assert study.report(1, 1, {"accuracy": 0.1})
    study.tell(1, {"accuracy": 0.9}, 1.0)
    assert study.history[1].status is Status.PRUNED


def test_other_entries_in_the_ledger_are_not_the_studys() -> None:
    store = MemoryStore()
    Ledger(store).append("cycle-started", {"number": 0})
    study = study_of(Shuffled(), store)
    study.ask(1)
    assert study_of(Shuffled(), store).history == study.history


# ---------------------------------------------------------------- attempts: taken over, retried, and what they cost

GONE = Failure(status=Status.LOST, reason="node: 10.0.0.7 does not answer")


class Clock:
    """The time of a ledger, set forward by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


def timed(store: Store, clock: Clock, strategy: Strategy | None = None) -> LedgerStudy:
    return LedgerStudy(Ledger(store, clock=clock), Space(), ACCURACY, strategy or Shuffled())


def test_taking_over_is_recorded_once_and_only_by_a_process_that_asks() -> None:
    store = MemoryStore()
    study_of(Shuffled(), store).ask(3)
    looking = study_of(Shuffled(), store)
    assert [trial.attempt for trial in looking.history] == [0, 0, 0]
    assert (looking.spent, looking.exhausted) == (Spent(pending=3), False)
    looking.report(1, 1, {"accuracy": 0.5})
    looking.tell(1, {"accuracy": 0.5}, 1.0)
    assert recorded(store, "resumed") == []
    taking = study_of(Shuffled(), store)
    given = [*taking.ask(1), *taking.ask(1), *taking.ask(1)]
    assert [(trial.number, trial.attempt) for trial in given] == [(0, 1), (2, 1), (3, 0)]
    (entry,) = recorded(store, "resumed")
    assert [data["number"] for data in entry["trials"]] == [0, 2]
    again = study_of(Shuffled(), store)
    assert [(trial.number, trial.attempt) for trial in again.ask(9)] == [(0, 2), (2, 2), (3, 1)]
    assert len(recorded(store, "resumed")) == 2


def test_a_study_that_has_only_priors_is_begun_and_not_taken_over() -> None:
    store = MemoryStore()
    study_of(Shuffled(), store, priors=PRIORS)
    study_of(Shuffled(), store).ask(1)
    assert recorded(store, "resumed") == []


def test_trials_that_are_taken_over_are_told_with_their_new_attempt() -> None:
    store = MemoryStore()
    study_of(Shuffled(), store).ask(2)
    told: list[Trial] = []
    study = study_of(Shuffled(), store, on_change=told.append)
    assert told == []
    study.ask(1)
    assert [(trial.number, trial.attempt) for trial in told] == [(0, 1), (1, 1)]


def test_costs_add_up_over_attempts_whatever_ended_them() -> None:
    store, clock = MemoryStore(), Clock()
    killed = timed(store, clock)
    killed.ask(1)
    clock.seconds = 7
    killed.report(0, 1, {"accuracy": 0.1})
    clock.seconds = 500
    study = timed(store, clock)
    study.ask(1)
    assert study.history[0].cost_seconds == 7, "the record knows of no more"
    study.retry(0, GONE, 20.0, most=3)
    study.ask(1)
    study.tell(0, {"accuracy": 0.5}, 100.0)
    assert (study.history[0].attempt, study.history[0].cost_seconds) == (2, 127.0)
    assert study.spent.trial_seconds == 127.0


def test_what_was_spent_is_the_same_for_every_process_that_looks() -> None:
    store, clock = MemoryStore(), Clock()
    study = timed(store, clock)
    for number in range(3):
        study.ask(1)
        clock.seconds += 10
        study.tell(number, {"accuracy": 0.5} if number else GONE, 9.0)
    study.ask(1)
    assert study.spent == Spent(trials=3, pending=1, seconds=30.0, trial_seconds=27.0)
    clock.seconds += 86_400
    other = timed(store, clock)
    assert other.spent == study.spent
    other.ask(1)
    assert other.spent == study.spent, "the night between is nobody's"
    clock.seconds += 5
    other.tell(3, {"accuracy": 0.5}, 5.0)
    assert other.spent == timed(store, clock).spent == Spent(trials=4, seconds=35.0, trial_seconds=32.0)


def test_a_retried_trial_comes_first_and_alone() -> None:
    study = study_of(Shuffled())
    study.ask(3)
    study.report(1, 1, {"accuracy": 0.1})
    assert study.retry(1, GONE, 2.0, most=1)
    (again,) = study.ask(3)
    assert (again.number, again.attempt, again.status, len(again.curve)) == (1, 1, Status.PENDING, 1)
    assert [trial.number for trial in study.ask(2)] == [3, 4]


def test_trials_that_an_earlier_process_left_and_retried_ones_are_given_out_in_that_order() -> None:
    store = MemoryStore()
    study_of(Shuffled(), store).ask(3)
    study = study_of(Shuffled(), store)
    study.ask(1)
    study.retry(0, GONE, 1.0, most=3)
    assert [(trial.number, trial.attempt) for trial in study.ask(9)] == [(1, 1), (2, 1), (0, 2)]


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_trial_is_retried_so_often_and_then_lost(most: int) -> None:
    store = MemoryStore()
    study = study_of(Shuffled(), store)
    study.ask(1)
    answers = []
    for _ in range(most + 1):
        answers.append(study.retry(0, GONE, 2.0, most=most))
        assert len(study.ask(1)) == 1  # itself, or, in the end, the next
    trial = study.history[0]
    assert answers == [True] * most + [False]
    assert (trial.status, trial.error, trial.attempt) == (Status.LOST, GONE.reason, most)
    assert trial.cost_seconds == 2.0 * (most + 1)
    assert len(recorded(store, "retry")) == most
    assert study_of(Shuffled(), store).history == study.history


def test_processes_that_were_killed_do_not_count_as_retries() -> None:
    store = MemoryStore()
    study_of(Shuffled(), store).ask(1)
    for _ in range(5):
        study = study_of(Shuffled(), store)
        study.ask(1)
    assert study.retry(0, GONE, 1.0, most=1)
    study = study_of(Shuffled(), store)
    study.ask(1)
    assert not study.retry(0, GONE, 1.0, most=1)
    assert study.history[0].status is Status.LOST


def test_the_retry_of_a_trial_that_has_ended_changes_nothing() -> None:
    """An outcome and the news of its machine's death may cross."""
    store = MemoryStore()
    study = study_of(Shuffled(), store)
    study.ask(1)
    study.tell(0, {"accuracy": 0.5}, 1.0)
    before = (study.history[0], Ledger(store).head)
    assert study.retry(0, GONE, 5.0, most=3)
    assert (study.history[0], Ledger(store).head) == before
    assert [trial.number for trial in study.ask(2)] == [1, 2]


def test_a_trial_that_was_told_to_stop_is_pruned_and_not_tried_again() -> None:
    study = study_of(Shuffled(), stopper=Below())
    study.ask(2)
    study.report(0, 2, {"accuracy": 0.9})
    study.report(1, 2, {"accuracy": 0.1})
    assert not study.retry(1, GONE, 3.0, most=3)
    trial = study.history[1]
    assert (trial.status, trial.metrics, trial.cost_seconds) == (Status.PRUNED, {"accuracy": 0.1}, 3.0)


@pytest.mark.parametrize("number", [-1, 1])
def test_the_retry_of_an_unknown_number_is_an_error(number: int) -> None:
    study = study_of(Shuffled())
    study.ask(1)
    with pytest.raises(ValueError, match=f"trial {number}: not one of this study's 1"):
        study.retry(number, GONE, 1.0, most=3)


def test_a_retry_that_could_not_be_recorded_has_not_happened() -> None:
    store = Filling()
    study = study_of(Shuffled(), store)
    study.ask(1)
    store.full = True
    with pytest.raises(OutsideError):
        study.retry(0, GONE, 1.0, most=3)
    store.full = False
    assert study.history[0].attempt == 0
    assert [trial.number for trial in study.ask(1)] == [1]


def test_attempts_leave_one_curve_of_rising_steps_and_every_point_is_an_entry() -> None:
    """Whoever follows the record, such as a mirror, sees each step of a trial once, however often it was begun."""
    store, seen = MemoryStore(), dict[int, list[int]]()

    def follow(trial: Trial) -> None:
        steps = [step for step, _ in trial.curve]
        assert steps[: len(seen.get(trial.number, []))] == seen.get(trial.number, []), "what was seen stays"
        assert len(steps) <= len(seen.get(trial.number, [])) + 1, "one at a time"
        seen[trial.number] = steps

    study = study_of(Shuffled(), store, on_change=follow)
    study.ask(2)
    for attempt in range(4):
        for number in (0, 1):
            for step in range(1, 3 + 2 * attempt):
                study.report(number, step, {"accuracy": step / 100})
        if attempt % 2:
            study.retry(0, GONE, 1.0, most=9)
            study.ask(1)
        else:
            study = study_of(Shuffled(), store, on_change=follow)
            study.ask(2)
    assert seen == {0: list(range(1, 9)), 1: list(range(1, 9))}
    reports = [(data["number"], data["step"]) for data in recorded(store, "report")]
    assert sorted(reports) == [(number, step) for number in (0, 1) for step in range(1, 9)]


def test_a_reopened_study_waits_for_a_batch_before_it_asks_the_strategy() -> None:
    store = MemoryStore()
    killed = study_of(Scripted(of((0, 1, 0), (0, 2, 0))), store)
    killed.ask(2)
    strategy = Scripted(of((0, 3, 0)))
    study = study_of(strategy, store)
    assert [trial.number for trial in study.ask(9)] == [0, 1]
    assert strategy.calls == 0
    assert [trial.number for trial in study.ask(9)] == [2]


def test_a_trial_that_ended_after_all_is_not_given_out_again() -> None:
    """The news of a machine's death may be wrong, and the outcome come behind it."""
    study = study_of(Shuffled())
    study.ask(2)
    study.retry(0, GONE, 1.0, most=3)
    study.tell(0, {"accuracy": 0.5}, 1.0)
    assert [trial.number for trial in study.ask(1)] == [2]


def test_two_faults_of_one_trial_give_it_out_once() -> None:
    study = study_of(Shuffled())
    study.ask(1)
    study.retry(0, GONE, 1.0, most=3)
    study.retry(0, GONE, 1.0, most=3)
    assert [(trial.number, trial.attempt) for trial in study.ask(9)] == [(0, 2)]
    assert 0 not in [trial.number for trial in study.ask(9)]


def test_taking_over_that_could_not_be_recorded_is_recorded_by_the_next_ask() -> None:
    store = Filling()
    study_of(Shuffled(), store).ask(2)
    study = study_of(Shuffled(), store)
    store.full = True
    with pytest.raises(OutsideError):
        study.ask(1)
    store.full = False
    assert [(trial.number, trial.attempt) for trial in study.ask(9)] == [(0, 1), (1, 1)]
    assert len(recorded(store, "resumed")) == 1
