"""What strategies share that promote: rungs of fidelity, and another strategy that says what enters them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from typing import Any

from nas_core import registry
from nas_core import space as algebra
from nas_core.errors import InputError, unknown
from nas_core.interfaces import SearchSpace, Strategy
from nas_core.objectives import key
from nas_core.types import Architecture, Objective, Proposal, Status, Trial

Climb = list[Trial]
"""The trials of one architecture from the rung that it entered on upwards; or one trial of an earlier cycle."""


class Promoting(ABC):
    """A strategy that lets another propose, at less than full fidelity, and promotes what does well.

    The other one, `around`, sees a search of its own at full fidelity: each architecture once, with the result of the
    highest rung that it has come to, and trials of earlier cycles as they are. So it has to know nothing of rungs, and
    its answers depend on the history alone. A parent that it names is the trial that this result is from.

    When it has nothing left and all trials have ended, the best of those that were not promoted are, from the highest
    rung on: a budget that outlasts the space is used, and a search that ends has tried in full whatever did not fail.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        seed: int,
        around: str,
        options: Mapping[str, Any],
        eta: int,
        min_fidelity: float,
    ) -> None:
        self._wrapped = _made(around, options, space, objectives, seed)
        self._objectives = tuple(objectives)
        self._eta = eta
        self._rungs = rungs(eta, min_fidelity)
        self._canonical = cache(partial(algebra.canonical, space))
        self._seen: dict[int, tuple[Trial, Trial]] = {}

    @abstractmethod
    def _due(self, climbs: Sequence[Climb], /) -> Iterable[Trial]:
        """Yield the trials to promote now, in order; `climbs` are this study's, in the order of their entry."""

    @abstractmethod
    def _entry(self, index: int, /) -> float:
        """Return the fidelity at which the architecture enters that is number `index` to do so."""

    def propose(self, history: Sequence[Trial], n: int) -> list[Proposal]:
        """Return `n` proposals, promotions first; the contract is that of `Strategy.propose`."""
        climbs = self._climbs(history)
        own = [climb for climb in climbs if not climb[0].origin]
        proposals = [self._promotion(trial) for trial in islice(self._due(own), n)]
        if len(proposals) < n:
            proposals += self._newcomers(climbs, len(own), n - len(proposals))
        if not proposals and not any(climb[-1].status is Status.PENDING for climb in own):
            proposals = [self._promotion(trial) for trial in islice(self._left_over(own), n)]
        return proposals

    def _best_first(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the ok ones of `trials` by constrained domination, ties by the objectives in order."""
        done = [trial for trial in trials if trial.status is Status.OK]
        return sorted(done, key=lambda trial: key(trial.metrics or {}, self._objectives))

    def _climbs(self, history: Sequence[Trial]) -> list[Climb]:
        climbs: dict[Architecture | int, Climb] = {}
        for trial in history:
            identity = trial.number if trial.origin else self._canonical(trial.architecture)
            climbs.setdefault(identity, []).append(trial)
        return list(climbs.values())

    def _promotion(self, trial: Trial) -> Proposal:
        why = (
            ("promoted from", trial.fidelity),
            *((o.metric, (trial.metrics or {})[o.metric]) for o in self._objectives),
        )
        higher = next(fidelity for fidelity in self._rungs if fidelity > trial.fidelity)
        return Proposal(architecture=trial.architecture, fidelity=higher, parents=(trial.number,), why=why)

    def _left_over(self, climbs: Sequence[Climb]) -> Iterator[Trial]:
        tops = [climb[-1] for climb in climbs]
        for fidelity in reversed(self._rungs[:-1]):
            yield from self._best_first(trial for trial in tops if trial.fidelity == fidelity)

    def _newcomers(self, climbs: Sequence[Climb], entered: int, n: int) -> list[Proposal]:
        """Return up to `n` proposals of the wrapped strategy, each at the fidelity of its entry."""
        shown = [_result(climb) for climb in climbs]
        seen_as = {trial.number: index for index, climb in enumerate(climbs) for trial in climb}
        view = []
        for index, (trial, climb) in enumerate(zip(shown, climbs, strict=True)):
            parents = () if trial.origin else tuple(seen_as[parent] for parent in climb[0].parents)
            view.append(self._as_seen(trial, index, parents))
        return [
            replace(
                proposal,
                fidelity=self._entry(entered + i),
                parents=tuple(shown[parent].number for parent in proposal.parents),
            )
            for i, proposal in enumerate(self._wrapped.propose(view, n))
        ]

    def _as_seen(self, trial: Trial, number: int, parents: tuple[int, ...]) -> Trial:
        """Return `trial` as the wrapped strategy sees it; made once, because to make a thousand takes milliseconds."""
        before, seen = self._seen.get(number, (None, None))
        if seen is None or before is not trial or seen.parents != parents:
            fidelity = trial.fidelity if trial.origin else 1.0
            seen = replace(trial, number=number, fidelity=fidelity, parents=parents)
            self._seen[number] = trial, seen
        return seen


def rungs(eta: int, min_fidelity: float) -> tuple[float, ...]:
    """Return the fidelities 1, 1/eta, 1/eta² ... down to `min_fidelity`, ascending; InputError if they are not two."""
    if eta < 2:
        raise InputError(f"eta: must be >= 2, got {eta}")
    if not 0 < min_fidelity <= 1 / eta:
        raise InputError(
            f"min_fidelity: must be > 0 and at most 1/eta = {1 / eta:.3g}, so that there are two rungs, "
            f"got {min_fidelity:g}"
        )
    fidelities = [1.0]
    while 1 / eta ** len(fidelities) >= min_fidelity:
        fidelities.append(1 / eta ** len(fidelities))
    return tuple(reversed(fidelities))


def _result(climb: Climb) -> Trial:
    """Return the trial of the highest rung that came out; if none did, the one that entered."""
    # More effort makes figures better, so what was promoted looks better than the rest. Figures of the rung of entry
    # would compare, but with evolution on NAS-Bench-201 they left more mean regret after the cost of 30 full trainings.
    return next((trial for trial in reversed(climb) if trial.status is Status.OK), climb[0])


def _made(name: str, options: Mapping[str, Any], *arguments: Any) -> Strategy:
    """Return the strategy called `name`; InputError, located in our own options, if there is none to be wrapped."""
    if name not in registry.targets("strategies"):
        raise unknown("around", name, registry.names("strategies"))
    factory = registry.load("strategies", name)
    valid = [option.name for option in registry.options(factory)]
    for option in options:
        if option not in valid:
            raise unknown("options", option, valid)
    try:
        strategy: Strategy = factory(*arguments, **options)
    except TypeError as error:
        raise InputError(f"options: {name} does not take {dict(options)} ({error})") from error
    except InputError as error:
        raise (error.at("options") if options else error) from error
    if isinstance(strategy, Promoting):
        raise InputError(f"around: must be a strategy without rungs of its own, got {name}; take one such as random")
    return strategy
