"""Optuna's tree-structured Parzen estimator (Bergstra et al. 2011; Watanabe 2023), as a baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace
from nas_core.objectives import value, violation
from nas_core.strategies._drawing import TRIES, Draw, Drawing
from nas_core.types import Architecture, Objective, Proposal, Status, Trial

if TYPE_CHECKING:
    import optuna

_DIRECTIONS = {"min": "MINIMIZE", "max": "MAXIMIZE"}


class OptunaTPE(Drawing):
    """Optuna's TPE sampler, as a baseline: what is likely among good trials and unlikely among the others.

    Each call rebuilds Optuna's study from the history. A decision is a categorical parameter, suggested only where it
    is active; those that always are have a joint density (`multivariate`). Limits are constraints, and several
    objectives are split by non-domination. Pending trials, and draws that repeat what is known, count among the others
    (constant liar), failed and pruned ones not at all. Full trials of an earlier cycle count as this one's. Until
    `n_startup_trials` have come out, proposals are random. InputError if Optuna is not installed.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        seed: int,
        *,
        n_startup_trials: int = 10,
        n_ei_candidates: int = 24,
    ) -> None:
        super().__init__(space, objectives, seed)
        for option, given in (("n_startup_trials", n_startup_trials), ("n_ei_candidates", n_ei_candidates)):
            if given < 1:
                raise InputError(f"{option}: must be >= 1, got {given}")
        try:
            import optuna
        except ImportError as error:
            raise InputError("optuna-tpe: Optuna is not installed; pip install 'evernas[tpe]'") from error
        self._optuna = optuna
        self._n_startup_trials = n_startup_trials
        self._n_ei_candidates = n_ei_candidates
        self._distributions = [
            optuna.distributions.CategoricalDistribution(range(len(decision.options))) for decision in space.decisions
        ]

    def _drawing(self, history: Sequence[Trial], rng: np.random.Generator, /) -> Draw:
        study = self._study(history, seed=int(rng.integers(2**32)))
        beyond = 0

        def draw(_made: int) -> Proposal:
            nonlocal beyond
            while beyond < TRIES:
                architecture = self._walk(study.ask().suggest_categorical)
                if algebra.admits(self._space, architecture):
                    return Proposal(architecture=architecture, why=(("drawn", "by Optuna's TPE sampler"),))
                beyond += 1
            why = f"at random: {TRIES} suggestions were beyond the limits of the space"
            return Proposal(architecture=algebra.sample(self._space, rng), why=(("drawn", why),))

        return draw

    def _walk(self, suggest: Callable[[str, Sequence[int]], Any]) -> Architecture:
        """Return the architecture of which `suggest` is asked decision by decision, for the active ones only."""
        values: list[int] = []
        on: list[bool] = []
        for decision in self._space.decisions:
            on.append(all(on[earlier] and values[earlier] in allowed for earlier, allowed in decision.active_if))
            values.append(suggest(decision.name, range(len(decision.options))) if on[-1] else 0)
        return tuple(values)

    def _study(self, history: Sequence[Trial], seed: int) -> optuna.Study:
        """Return Optuna's study of what `history` tells at full fidelity."""
        sampler = self._optuna.samplers.TPESampler(
            n_startup_trials=self._n_startup_trials,
            n_ei_candidates=self._n_ei_candidates,
            multivariate=True,
            seed=seed,
        )
        directions = [self._optuna.study.StudyDirection[_DIRECTIONS[o.goal]] for o in self._objectives]
        with _quiet(self._optuna):
            study = self._optuna.create_study(directions=directions, sampler=sampler)
        telling = {Status.OK, Status.PENDING}
        study.add_trials(self._told(trial) for trial in history if trial.fidelity == 1.0 and trial.status in telling)
        return study

    def _told(self, trial: Trial) -> optuna.trial.FrozenTrial:
        on = algebra.active(self._space, trial.architecture)
        active = [i for i, is_on in enumerate(on) if is_on]
        names = [decision.name for decision in self._space.decisions]
        states, metrics = self._optuna.trial.TrialState, trial.metrics
        return self._optuna.create_trial(
            state=states.COMPLETE if metrics else states.RUNNING,
            values=[value(metrics, objective) for objective in self._objectives] if metrics else None,
            constraints={"limits": violation(metrics, self._objectives)} if metrics else None,
            params={names[i]: trial.architecture[i] for i in active},
            distributions={names[i]: self._distributions[i] for i in active},
        )


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Let Optuna say only what is wrong, for a while: whoever uses it beside us may want to hear the rest."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
