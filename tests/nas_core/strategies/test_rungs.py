"""What `asha` and `hyperband` share: rungs, promotions, and what the strategy within sees."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from nas_core.errors import InputError
from nas_core.estimators.fitting import Fitting
from nas_core.estimators.training import Training
from nas_core.interfaces import Strategy
from nas_core.ledger import Ledger
from nas_core.runner import LocalRunner, Rung
from nas_core.spaces.chain import Chain
from nas_core.store import MemoryStore
from nas_core.strategies._rungs import Promoting, rungs
from nas_core.strategies.asha import ASHA
from nas_core.strategies.hyperband import Hyperband
from nas_core.study import LedgerStudy
from nas_core.tasks.tabular import Tabular
from nas_core.types import Architecture, Budget, Decision, Objective, Port, Proposal, Signature, Status, Trial

ACCURACY = Objective(metric="accuracy", goal="max")
LOW, MIDDLE, FULL = rungs(3, 0.1)
both = pytest.mark.parametrize("kind", [ASHA, Hyperband])


@dataclass(frozen=True)
class Grid:
    decisions: tuple[Decision, ...] = tuple(Decision(name=f"place_{i}", options=tuple("abcd")) for i in range(12))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


class Spy:
    """A strategy that keeps what it was shown, and answers as it is told."""

    def __init__(self, *answer: Proposal) -> None:
        self.answer = answer
        self.shown: list[Sequence[Trial]] = []

    def propose(self, history: Sequence[Trial], n: int) -> Sequence[Proposal]:
        self.shown.append(list(history))
        return self.answer[:n]


def architecture(index: int) -> Architecture:
    return (index % 4, index // 4 % 4, *(0,) * 10)


def ok(number: int, which: int, fidelity: float, accuracy: float, **changes: Any) -> Trial:
    """Return the finished trial `number`, of architecture number `which`."""
    metrics = {"accuracy": accuracy}
    trial = Trial(number=number, architecture=architecture(which), fidelity=fidelity, status=Status.OK, metrics=metrics)
    return replace(trial, **{"finished": number, **changes})


def around(spy: Strategy) -> ASHA:
    strategy = ASHA(Grid(), [ACCURACY], 0)
    strategy._wrapped = spy
    return strategy


# ---------------------------------------------------------------- rungs


@pytest.mark.parametrize(
    ("eta", "min_fidelity", "expected"),
    [
        (3, 0.1, (1 / 9, 1 / 3, 1)),
        (3, 1 / 81, (1 / 81, 1 / 27, 1 / 9, 1 / 3, 1)),
        (2, 0.5, (0.5, 1)),
        (2, 0.3, (0.5, 1)),
        (10, 0.001, (0.001, 0.01, 0.1, 1)),
    ],
)
def test_rungs_are_powers_of_one_by_eta(eta: int, min_fidelity: float, expected: tuple[float, ...]) -> None:
    assert rungs(eta, min_fidelity) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": 1}, "eta: must be >= 2, got 1"),
        ({"min_fidelity": 0.0}, r"min_fidelity: must be > 0 and at most 1/eta = 0\.333, .*got 0"),
        ({"min_fidelity": 0.5}, "min_fidelity: .*got 0.5"),
        ({"around": "bayesain"}, "around: unknown name 'bayesain', expected one of .*random"),
        ({"around": "asha"}, "around: must be a strategy without rungs of its own, got asha"),
        ({"options": {"populaton": 5}}, "options: unknown name 'populaton', expected one of "),
        ({"around": "regularized-evolution", "options": {"sample": 0}}, "options.sample: must be >= 1, got 0"),
        (
            {"around": "regularized-evolution", "options": {"sample": "2"}},
            "options: regularized-evolution does not take",
        ),
    ],
)
@both
def test_options_out_of_range_are_refused(kind: type[Promoting], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind(Grid(), [ACCURACY], 0, **options)


def test_options_reach_the_strategy_within() -> None:
    history = [ok(0, 0, LOW, 0.5)]
    options = {"population": 1, "sample": 1}
    (child,) = ASHA(Grid(), [ACCURACY], 0, around="regularized-evolution", options=options).propose(history, 1)
    assert child.parents == (0,)
    assert child.fidelity == LOW


# ---------------------------------------------------------------- what the strategy within sees


def test_it_sees_each_architecture_once_in_full_with_the_result_of_its_highest_rung() -> None:
    spy = Spy()
    history = [
        ok(0, 0, LOW, 0.5),
        ok(1, 1, LOW, 0.4),
        ok(2, 2, LOW, 0.3),
        ok(3, 0, MIDDLE, 0.8, parents=(0,)),
        ok(4, 3, LOW, 0.2, parents=(3,)),
        ok(5, 4, LOW, 0.0, status=Status.PENDING, finished=None, metrics=None),
    ]
    around(spy).propose(history, 1)
    (shown,) = spy.shown
    assert [(t.number, t.architecture, t.fidelity) for t in shown] == [(i, architecture(i), 1.0) for i in range(5)]
    assert [t.metrics and t.metrics["accuracy"] for t in shown] == [0.8, 0.4, 0.3, 0.2, None]
    assert [t.finished for t in shown] == [3, 1, 2, 4, None]
    assert shown[3].parents == (0,)


@pytest.mark.parametrize("status", [Status.PENDING, Status.FAILED, Status.PRUNED, Status.LOST])
def test_a_promotion_that_did_not_come_out_leaves_the_result_below(status: Status) -> None:
    spy = Spy()
    history = [ok(i, i, LOW, 0.5 - i / 10) for i in range(3)]
    around(spy).propose([*history, ok(3, 0, MIDDLE, 0.9, status=status, parents=(0,))], 1)
    assert spy.shown[0][0] == replace(history[0], fidelity=1.0)


def test_it_sees_trials_of_an_earlier_cycle_as_they_are() -> None:
    spy = Spy()
    priors = [ok(0, 0, FULL, 0.9, origin="before#3"), ok(1, 0, LOW, 0.5, origin="before#1")]
    around(spy).propose([*priors, ok(2, 0, LOW, 0.4)], 1)
    assert spy.shown[0][:2] == priors
    assert spy.shown[0][2].fidelity == 1.0


def test_parents_of_an_earlier_cycle_are_not_trials_of_this_one() -> None:
    spy = Spy()
    around(spy).propose([ok(0, 0, FULL, 0.9, origin="before#3", parents=(7,))], 1)
    assert spy.shown[0][0].parents == ()


def test_it_sees_what_is_known_now_whatever_it_saw_before() -> None:
    spy = Spy()
    strategy = around(spy)
    running = ok(0, 0, LOW, 0.5, status=Status.PENDING, metrics=None, finished=None)
    for history in ([running], [ok(0, 0, LOW, 0.5)], [ok(0, 1, LOW, 0.4)], [running]):
        strategy.propose(history, 1)
        assert spy.shown[-1] == [replace(history[0], fidelity=1.0)]


@pytest.mark.parametrize("which", [0, 1])
def test_parents_are_where_it_sees_them(which: int) -> None:
    spy = Spy()
    strategy = around(spy)
    child = ok(3, 9, LOW, 0.1, parents=(2,))
    for promoted in (1 - which, which):
        parent = ok(2, promoted, MIDDLE, 0.9, parents=(promoted,))
        strategy.propose([ok(0, 0, LOW, 0.5), ok(1, 1, LOW, 0.4), parent, child], 2)
    assert spy.shown[-1][2].parents == (which,)


def test_a_parent_that_it_names_is_the_trial_whose_result_it_saw() -> None:
    history = [ok(0, 0, LOW, 0.5), ok(1, 1, LOW, 0.4), ok(2, 2, LOW, 0.3), ok(3, 0, MIDDLE, 0.8, parents=(0,))]
    child = Proposal(architecture=architecture(9), parents=(0, 2))
    (proposal,) = around(Spy(child)).propose(history, 1)
    assert proposal == replace(child, fidelity=LOW, parents=(3, 2))


def test_it_is_asked_only_for_what_promotions_leave() -> None:
    spy = Spy(*(Proposal(architecture=architecture(9 + i)) for i in range(5)))
    history = [ok(i, i, LOW, 0.5 - i / 10) for i in range(3)]
    assert [p.parents for p in around(spy).propose(history, 3)] == [(0,), (), ()]
    assert around(spy).propose(history, 1)[0].parents == (0,)
    assert len(spy.shown) == 1


# ---------------------------------------------------------------- promotions


def test_a_promotion_says_what_it_goes_on_from() -> None:
    history = [ok(i, i, LOW, 0.5 - i / 10) for i in range(3)]
    (proposal,) = around(Spy()).propose(history, 1)
    why = (("promoted from", LOW), ("accuracy", 0.5))
    assert proposal == Proposal(architecture=architecture(0), fidelity=MIDDLE, parents=(0,), why=why)


@both
def test_when_nothing_else_is_left_the_best_go_on_from_the_highest_rung(kind: type[Promoting]) -> None:
    strategy = kind(Grid(), [ACCURACY], 0)
    strategy._wrapped = Spy()
    history = [
        ok(0, 0, LOW, 0.5),
        ok(1, 1, LOW, 0.9, status=Status.FAILED, metrics=None),
        ok(2, 2, MIDDLE, 0.3),
        ok(3, 3, MIDDLE, 0.4),
        ok(4, 4, FULL, 0.9),
    ]
    assert [p.parents for p in strategy.propose(history, 9)] == [(3,), (2,), (0,)]
    assert [p.fidelity for p in strategy.propose(history, 9)] == [FULL, FULL, MIDDLE]


@both
def test_what_is_left_waits_for_pending_trials(kind: type[Promoting]) -> None:
    strategy = kind(Grid(), [ACCURACY], 0)
    strategy._wrapped = Spy()
    pending = ok(1, 1, LOW, 0.9, status=Status.PENDING, metrics=None, finished=None)
    assert strategy.propose([ok(0, 0, LOW, 0.5), pending], 2) == []


# ---------------------------------------------------------------- effort


@pytest.mark.parametrize("inner", ["random", "regularized-evolution"])
@both
def test_the_time_of_a_proposal_grows_no_faster_than_the_history(kind: type[Promoting], inner: str) -> None:
    objectives = [ACCURACY, Objective(metric="latency_ms", goal="min", limit=0.8)]
    strategy = kind(Grid(), objectives, 0, around=inner)
    rng = np.random.default_rng(0)
    history: list[Trial] = []
    while len(history) < 1000:
        for proposal in strategy.propose(history, 10):
            metrics = {"accuracy": rng.uniform(), "latency_ms": rng.uniform()}
            number = len(history)
            done = Trial(number=number, architecture=proposal.architecture, status=Status.OK, metrics=metrics)
            history.append(replace(done, finished=number, fidelity=proposal.fidelity, parents=proposal.parents))

    def seconds(trials: int) -> float:
        taken = []
        for length in range(trials - 20, trials):
            start = time.process_time()
            (proposal,) = strategy.propose(history[:length], 1)
            if proposal.fidelity == LOW:  # a promotion alone takes less
                taken.append(time.process_time() - start)
        return min(taken)

    # Linear growth is a factor of 4, squared would be 16.
    assert seconds(1000) < 8 * seconds(250)


# ---------------------------------------------------------------- real training


class Session:
    """What an estimate that is run by hand may ask; there is nothing to go on from."""

    device = "cpu"

    def report(self, *_: Any) -> bool:
        return False

    def restore(self, _number: int | None = None) -> None:
        return None


def test_a_promoted_trial_trains_what_is_left_and_equals_one_trained_at_once(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, labels = load_breast_cancer(return_X_y=True)
    rows = ((rows - rows.mean(0)) / rows.std(0)).astype(np.float32)
    signature = Signature(
        inputs=(Port(name="cells", shape=(30,)),), outputs=(Port(name="benign", shape=(2,), classes=2),)
    )
    splits = {"train": ((rows[:400],), labels[:400]), "validation": ((rows[400:],), labels[400:])}
    space = Chain(signature, max_depth=1, widths=(4, 8, 16), numeric=("linear",))
    training = Training(space, Tabular(signature, splits), 0, epochs=9, batch_size=64)
    epochs: list[int] = []
    advance = Fitting.advance

    def counted(fitting: Fitting) -> dict[str, float]:
        epochs[-1] += 1
        return advance(fitting)

    class Counting(Training):
        def estimate(self, trial: Trial, session: Any) -> Any:
            epochs.append(0)
            return training.estimate(trial, session)

    monkeypatch.setattr(Fitting, "advance", counted)
    study = LedgerStudy(Ledger(MemoryStore()), space, [ACCURACY], ASHA(space, [ACCURACY], 0))
    counting = Counting(space, Tabular(signature, splits), 0)
    LocalRunner(tmp_path).run(study, [Rung(1.0, counting)], Budget(trials=13))

    climb = [trial for trial in study.history if trial.fidelity == FULL][:1]
    while climb[0].parents:
        climb.insert(0, study.history[climb[0].parents[0]])
    assert [trial.fidelity for trial in climb] == [LOW, MIDDLE, FULL]
    assert [epochs[trial.number] for trial in climb] == [1, 2, 6]
    epochs.append(0)
    assert training.estimate(replace(climb[-1], parents=()), Session()) == climb[-1].metrics
    assert epochs[-1] == 9
