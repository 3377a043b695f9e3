"""What does not fit gets no place."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nas_core.admission import Admission
from nas_core.interfaces import Rung, Session
from nas_core.ledger import Ledger
from nas_core.runner import LocalRunner
from nas_core.store import MemoryStore
from nas_core.study import LedgerStudy
from nas_core.types import Architecture, Budget, Decision, Metrics, Objective, Proposal, Status, Trial

ACCURACY = (Objective(metric="accuracy", goal="max"),)


class Line:
    """Architectures 0 to 19, of which number n takes n MB."""

    decisions = (Decision(name="size", options=tuple(map(str, range(20)))),)

    def build(self, architecture: Architecture) -> None:
        raise NotImplementedError


class Upwards:
    """Proposes the sizes in order, two at a time at most."""

    def propose(self, history: Sequence[Trial], n: int) -> Sequence[Proposal]:
        first = len(history)
        return [Proposal(architecture=(size,)) for size in range(first, min(20, first + min(n, 2)))]


class Started:
    """An estimator that remembers what it was given."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def estimate(self, trial: Trial, session: Session) -> Metrics:  # noqa: ARG002
        self.sizes.append(trial.architecture[0])
        return {"accuracy": 0.5}


def megabytes(architecture: Architecture) -> float:
    return float(architecture[0])


def study() -> LedgerStudy:
    return LedgerStudy(Ledger(MemoryStore()), Line(), ACCURACY, Upwards())  # type: ignore[arg-type]


@pytest.mark.parametrize("trials", [4, 10, 30])
def test_what_does_not_fit_is_told_so_and_never_started(trials: int) -> None:
    inner, estimator, budget = study(), Started(), Budget(trials=trials)
    LocalRunner().run(Admission(inner, budget, megabytes, 5), [Rung(1.0, estimator)], budget)
    assert estimator.sizes == list(range(min(trials, 6)))
    assert len(inner.history) == min(trials, 20)
    for trial in inner.history[6:]:
        assert trial.status is Status.INFEASIBLE
        assert trial.error.startswith(f"oom: needs about {trial.number} MB of memory, and its place has 5 MB")
        assert trial.cost_seconds == 0


def test_others_are_asked_for_in_their_place() -> None:
    sizes = [9, 1, 9, 2, 3]

    class Mixed:
        def propose(self, history: Sequence[Trial], n: int) -> Sequence[Proposal]:
            return [Proposal(architecture=(10 * i + s,)) for i, s in enumerate(sizes)][len(history) : len(history) + n]

    class Wide(Line):
        decisions = (Decision(name="size", options=tuple(map(str, range(50)))),)

    inner = LedgerStudy(Ledger(MemoryStore()), Wide(), ACCURACY, Mixed())  # type: ignore[arg-type]
    admission = Admission(inner, Budget(trials=5), lambda a: a[0] % 10, 5)
    assert [trial.number for trial in admission.ask(2)] == [1, 3]
    assert admission.spent.trials == 2
    assert [trial.number for trial in admission.ask(9)] == [4]
    assert list(admission.ask(1)) == []


def test_no_more_is_begun_than_the_budget_has() -> None:
    inner = study()
    admission = Admission(inner, Budget(trials=3), lambda _: 9.0, 5)
    assert list(admission.ask(1)) == []
    assert len(inner.history) == 3


def test_what_cannot_be_foreseen_is_started() -> None:
    def broken(_: Architecture) -> float:
        raise ValueError("a network that does not build")

    assert len(Admission(study(), Budget(trials=5), broken, 5).ask(2)) == 2
