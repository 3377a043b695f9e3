"""One search as a fold of its ledger: it alone calls the strategy and the stopper, and writes before it is believed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import index
from threading import RLock
from typing import Any

from nas_core.errors import InputError
from nas_core.failures import classify, failure, finite
from nas_core.history import KINDS, History, proposal_to_json, trial_to_json, with_report
from nas_core.interfaces import SearchSpace, Stopper, Strategy
from nas_core.ledger import Head, Ledger
from nas_core.space import canonical, validate
from nas_core.types import Architecture, Failure, Metrics, Objective, Proposal, Spent, Status, Trial

Outcome = tuple[int, Metrics | Failure, float]
"""A trial's number, what came of it, and its cost in seconds."""


class LedgerStudy:
    """See `nas_core.interfaces.Study`. Opened on a ledger that holds a study's entries, it goes on where they end.

    Every change is committed to `ledger`, then applied, then told to `on_change`, which is called with the trial as it
    is now, in the thread that made the change; neither replayed nor prior trials are told. Methods may be called from
    several threads. `priors` are finished trials of earlier cycles, each with an `origin`; they come first in the
    history, renumbered and without parents. A study that has begun keeps the priors that it began with.
    """

    def __init__(
        self,
        ledger: Ledger,
        space: SearchSpace,
        objectives: Sequence[Objective],
        strategy: Strategy,
        *,
        stopper: Stopper | None = None,
        on_change: Callable[[Trial], None] | None = None,
        priors: Sequence[Trial] = (),
    ) -> None:
        self._ledger = ledger
        self._space = space
        self._metrics = [objective.metric for objective in objectives]
        self._strategy = strategy
        self._stopper = stopper
        self._on_change = on_change
        self._lock = RLock()
        self._fold = History(ledger.entries(KINDS))
        if priors and not self._fold.trials:
            self._commit([("priors", {"trials": [trial_to_json(_checked_prior(trial)) for trial in priors]})])
        self._seen = {self._identity(trial): trial.number for trial in self._fold.trials if not trial.origin}
        self._left_over = deque(sorted(self._fold.pending))
        self._takes_over = self._fold.begun

    @property
    def history(self) -> Sequence[Trial]:
        """All trials by number: a live view, so that looking at it costs nothing; do not change it, copy to keep it."""
        return self._fold.trials

    @property
    def exhausted(self) -> bool:
        """Whether nothing is pending and the strategy, asked about this very history, had nothing new."""
        with self._lock:
            return self._fold.dry and not self._fold.pending

    @property
    def spent(self) -> Spent:
        """What the study has taken so far by its record, earlier processes' share included."""
        with self._lock:
            fold = self._fold
            return Spent(
                trials=fold.ended - fold.priors,
                pending=len(fold.pending),
                seconds=fold.seconds,
                trial_seconds=fold.trial_seconds,
            )

    def recorded(self, number: int) -> Head:
        """Return number and hash of the newest ledger entry about trial `number`."""
        return self._fold.recorded(number)

    def ask(self, n: int) -> Sequence[Trial]:
        """Return up to `n` trials to run; none means wait while trials are pending, and exhausted otherwise.

        Trials that an earlier process left pending come first, and alone: a strategy that was asked for a batch when
        its predecessor had ended must not be asked before that has ended in the resumed run. A proposal is refused,
        and recorded as such, if it is not valid, names parents that are not trials, is one more than asked for, or is
        a twin of a trial of this study at the same fidelity. A prior may be tried again: it has met other data.
        """
        with self._lock:
            self._take_over()
            given: list[Trial] = []
            while self._left_over and len(given) < n:
                if (number := self._left_over.popleft()) in self._fold.pending:  # its outcome may have come after all
                    given.append(self._fold.trials[number])
            if given:
                return given
            if n < 1 or self._fold.dry:
                return []
            return self._propose(n)

    def report(self, number: int, step: int, metrics: Metrics) -> bool:
        """Record `metrics` at `step` together with the stopper's answer to them, and return it: True means stop now.

        A step that is not beyond the last known one is ignored: a resumed trial comes by its old steps again. A trial
        that was told to stop, or has ended, is told to stop. FloatingPointError for metrics that are not finite.
        """
        with self._lock:
            trial, step, values = self._trial(number), index(step), finite(metrics)
            if trial.status is not Status.PENDING or number in self._fold.stopping:
                return True
            if trial.curve and step <= trial.curve[-1][0]:
                return False
            stop = self._asks_to_stop(with_report(trial, step, values))
            report = {"number": number, "step": step, "metrics": values, "stop": stop}
            self._announce(self._commit([("report", report)]))
            return stop

    def tell(self, number: int, outcome: Metrics | Failure, cost_seconds: float) -> None:
        """End trial `number`; see `tell_all`."""
        self.tell_all([(number, outcome, cost_seconds)])

    def tell_all(self, outcomes: Sequence[Outcome]) -> None:
        """End trials, all in one commit.

        A trial that was told to stop is pruned, whatever it brought, with its last report as metrics. Metrics that are
        not finite, or lack an objective, make it failed. The first outcome stands: the same one told again is ignored,
        another one is a ValueError.
        """
        with self._lock:
            drafts: dict[int, dict[str, Any]] = {}
            for number, outcome, cost_seconds in outcomes:
                trial, result = self._trial(number), self._result(number, outcome)
                if trial.status is not Status.PENDING or number in drafts:
                    self._check_same(number, drafts.get(number) or _outcome_of(trial), result)
                    continue
                ends = {"cost_seconds": float(cost_seconds), "finished": self._fold.ended + len(drafts)}
                drafts[number] = {"number": number, **result, **ends}
            self._announce(self._commit([("outcome", data) for data in drafts.values()]))

    def retry(self, number: int, fault: Failure, cost_seconds: float, most: int) -> bool:
        """Record that `fault` ended an attempt of trial `number`; see `nas_core.interfaces.Study`.

        A trial that has ended, or was told to stop, is not tried again: True says only that there is nothing to tell.
        """
        with self._lock:
            if self._trial(number).status is not Status.PENDING:
                return True
            if number in self._fold.stopping or self._fold.faults(number) >= most:
                self.tell(number, fault, cost_seconds)
                return False
            data = {"number": number, "reason": fault.reason, "cost_seconds": float(cost_seconds)}
            self._announce(self._commit([("retry", data)]))
            if number not in self._left_over:
                self._left_over.append(number)
            return True

    def _take_over(self) -> None:
        """Record, once, that this process goes on with what another one began."""
        if self._takes_over:
            changed = self._commit([("resumed", {"trials": self._fold.unfinished()})])
            self._takes_over = False
            self._announce(changed)

    # ---------------------------------------------------------------- proposals

    def _propose(self, n: int) -> Sequence[Trial]:
        proposals = [_plain(proposal) for proposal in self._strategy.propose(self._fold.trials, n)]
        first = len(self._fold.trials)
        accepted: list[Proposal] = []
        refused: list[dict[str, Any]] = []
        new: dict[tuple[Architecture, float], int] = {}
        for proposal in proposals:
            reason = self._refusal(proposal) if len(accepted) < n else f"only {n} were asked for"
            if not reason:
                identity = self._identity(proposal)
                twin = self._seen.get(identity, new.get(identity))
                if twin is None:
                    new[identity] = first + len(accepted)
                    accepted.append(proposal)
                    continue
                reason = f"a twin of trial {twin} at the same fidelity"
            refused.append({**proposal_to_json(proposal), "reason": reason})
        # Nothing but a change of the history changes the answer, so until then the strategy is not asked again.
        self._fold.dry = not accepted
        if proposals:
            data = {"first": first, "accepted": [proposal_to_json(p) for p in accepted], "refused": refused}
            changed = self._commit([("proposals", data)])
            self._seen.update(new)
            self._announce(changed)
        return self._fold.trials[first:]

    def _refusal(self, proposal: Proposal) -> str:
        """Return why `proposal` cannot be run; nothing if it can."""
        if not 0 < proposal.fidelity <= 1:
            return f"fidelity: must be in (0, 1], got {proposal.fidelity}"
        if strangers := [parent for parent in proposal.parents if not 0 <= parent < len(self._fold.trials)]:
            return f"parents: must be trials of the history, got {strangers}"
        try:
            validate(self._space, proposal.architecture)
        except InputError as error:
            return str(error)
        return ""

    def _identity(self, proposal: Proposal | Trial) -> tuple[Architecture, float]:
        return canonical(self._space, proposal.architecture), proposal.fidelity

    # ---------------------------------------------------------------- outcomes

    def _asks_to_stop(self, trial: Trial) -> bool:
        """Ask the stopper about the history with `trial` in place of what is recorded of it so far."""
        if self._stopper is None:
            return False
        trials, before = self._fold.trials, self._fold.trials[trial.number]
        trials[trial.number] = trial
        try:
            return bool(self._stopper.stop(trials, trial.number))
        finally:
            trials[trial.number] = before

    def _result(self, number: int, outcome: Metrics | Failure) -> dict[str, Any]:
        if number in self._fold.stopping:
            return {"status": Status.PRUNED, "metrics": self._fold.trials[number].curve[-1][1]}
        if not isinstance(outcome, Failure):
            try:
                values = finite(outcome)
            except FloatingPointError as error:
                outcome = classify(error)
            except TypeError as error:
                outcome = failure(Status.FAILED, "metrics", str(error))
            else:
                if not (missing := [name for name in self._metrics if name not in values]):
                    return {"status": Status.OK, "metrics": values}
                outcome = failure(Status.FAILED, "metrics", f"{', '.join(missing)} missing, got {', '.join(values)}")
        return {"status": outcome.status, "reason": outcome.reason}

    def _check_same(self, number: int, known: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        if any(known.get(name) != value for name, value in result.items()):
            raise ValueError(f"trial {number}: ended {known['status']}, cannot be told {result['status']} now")

    def _trial(self, number: int) -> Trial:
        trials = self._fold.trials
        if not 0 <= number < len(trials) or trials[number].origin:
            raise ValueError(f"trial {number}: not one of this study's {len(trials)}")
        return trials[number]

    # ---------------------------------------------------------------- the record

    def _commit(self, drafts: Sequence[tuple[str, Mapping[str, Any]]]) -> list[int]:
        """Write first, then believe; return the numbers of the trials that changed."""
        return [number for entry in self._ledger.commit(drafts) for number in self._fold.apply(entry)]

    def _announce(self, numbers: Sequence[int]) -> None:
        if self._on_change:
            for number in numbers:
                self._on_change(self._fold.trials[number])


def _checked_prior(trial: Trial) -> Trial:
    if not trial.origin or trial.status is Status.PENDING:
        raise ValueError(f"priors: must have an origin and an end, trial {trial.number} has {trial.origin!r}")
    return trial


def _outcome_of(trial: Trial) -> dict[str, Any]:
    return {"status": trial.status, "metrics": trial.metrics, "reason": trial.error}


def _plain(proposal: Proposal) -> Proposal:
    """Return `proposal` in plain numbers: strategies think in numpy's."""
    return replace(
        proposal,
        architecture=tuple(index(option) for option in proposal.architecture),
        fidelity=float(proposal.fidelity),
        parents=tuple(index(parent) for parent in proposal.parents),
    )
