"""Bayesian optimisation with a Gaussian process over architectures: the sample-efficient default."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace
from nas_core.objectives import key, pareto_front
from nas_core.strategies._architecture_features import as_options
from nas_core.strategies._candidates import Candidates, population
from nas_core.strategies._drawing import Draw, Drawing
from nas_core.strategies._gaussian_process import MOST, Array, Kernel, Posterior
from nas_core.strategies._sources import Sources, by_study
from nas_core.strategies._surrogate import Surrogate
from nas_core.strategies._targets import Scale, finished, values
from nas_core.types import Architecture, Objective, Proposal, Status, Trial

_PARENTS = 10
"""Of this study and of each earlier one, how many of the best have their mutants in a pool."""

_PROVEN = 3
"""How many of what earlier studies predict to be best are tried first."""

Why = list[tuple[str, float | str]]


class Bayesian(Drawing):
    """Bayesian optimisation with a Gaussian process over decisions, attributes and features of the structure.

    The first `initial` architectures are drawn at random. Then what has the highest upper confidence bound is proposed,
    mean + `beta` sd: at first what is extreme in its features, since it is least certain. Spaces of at most 50,000
    architectures are looked at whole, of larger ones a pool: mutants of the best, and random ones.

    Results are taken as noisy, and by the order of magnitude of their distance to the best. Failed trials count as the
    worst, lost ones not at all, pending ones as what is expected of them. Two objectives are judged by their expected
    hypervolume improvement, more by random Chebyshev scalarisations; limits by the probability that they are kept.
    Earlier studies enter by what each of them predicts; the three that they predict to be best are tried first.

    Hyperparameters are fitted at fixed numbers of results, and by at most 300 of them, so that time grows no further.
    """

    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], seed: int, *, initial: int = 1, beta: float = 1.0
    ) -> None:
        super().__init__(space, objectives, seed)
        if initial < 1:
            raise InputError(f"initial: must be >= 1, got {initial}")
        if not 0 <= beta < math.inf:
            raise InputError(f"beta: must be >= 0 and finite, got {beta}")
        self._initial = initial
        self._beta = beta
        self._population = population(space)
        self._fits: dict[bytes, Array] = {}
        self._sources: tuple[list[list[Trial]], Sources] | None = None

    def _drawing(self, history: Sequence[Trial], rng: np.random.Generator) -> Draw:
        own = [trial for trial in history if not trial.origin and trial.fidelity == 1.0]
        told = finished(own)
        untold = [trial.architecture for trial in own if trial.status is Status.PENDING]
        seen = {self._canonical(trial.architecture) for trial in own}
        sources = self._learned(history)
        parents = [] if self._population.is_whole else self._parents(history)
        candidates = self._population.candidates(seen, parents, rng)
        surrogate: Surrogate | None = None
        picked: list[int] = []

        def pick(made: int) -> tuple[int, Why]:
            nonlocal surrogate
            started = len(own) + made
            if sources.columns.linear and started < _PROVEN:
                return _proven(candidates, sources), [("drawn", "the best that earlier studies predict")]
            if started < self._initial or not (told or untold or picked):
                return int(rng.choice(candidates.left)), [("drawn", "at random")]
            if surrogate is None:
                surrogate = self._surrogate(told, untold, candidates, sources, rng)
            while picked:
                surrogate.believe(picked.pop(0))
            return surrogate.choose(candidates.left)

        def draw(made: int) -> Proposal:
            if not len(candidates.left):
                return Proposal(architecture=algebra.sample(self._space, rng), why=(("drawn", "at random"),))
            row, why = pick(made)
            picked.append(row)
            return Proposal(architecture=candidates.take(row), why=tuple(why))

        return draw

    # ---------------------------------------------------------------- the model

    def _surrogate(
        self,
        told: Sequence[Trial],
        untold: Sequence[Architecture],
        candidates: Candidates,
        sources: Sources,
        rng: np.random.Generator,
    ) -> Surrogate:
        """Return the model after the results `told`; of the architectures `untold` it believes what it expects."""
        encoder, decisions = self._population.encoder, self._population.decisions
        kernel = Kernel(encoder.columns.beside(sources.columns))
        everyone = sources.beside(candidates.codes)
        data = sources.beside(encoder(as_options([trial.architecture for trial in told], decisions)))
        expected = sources.beside(encoder(as_options(untold, decisions)))
        scales, targets = self._targets(told)
        kept = _kept(targets)
        fitted = told[: _fitted(len(told))]
        _, early = self._targets(fitted)
        early_kept = _kept(early)
        posteriors = []
        for k, codes in enumerate(data):
            h = self._fit(kernel, codes[early_kept], early[early_kept, k])
            believed = Posterior(kernel, h, codes[kept], targets[kept, k], expected[k]).mean
            posteriors.append(
                Posterior(
                    kernel,
                    h,
                    np.vstack([codes[kept], expected[k]]),
                    np.concatenate([targets[kept, k], believed]),
                    everyone[k],
                )
            )
        weights = rng.dirichlet(np.ones(len(self._objectives)))
        return Surrogate(self._objectives, scales, posteriors, weights, self._beta)

    def _targets(self, trials: Sequence[Trial]) -> tuple[list[Scale], Array]:
        """Return a scale per objective, and the targets (N, K) of `trials`."""
        measured = [values(trials, objective) for objective in self._objectives]
        scales = [Scale(figures, objective) for figures, objective in zip(measured, self._objectives, strict=True)]
        return scales, np.column_stack([scale(figures) for scale, figures in zip(scales, measured, strict=True)])

    def _fit(self, kernel: Kernel, codes: Array, targets: Array) -> Array:
        """Return what `kernel.fit` does; the same question is answered once."""
        question = sha256(codes.tobytes() + targets.tobytes()).digest()
        if question not in self._fits:
            self._fits[question] = kernel.fit(codes, targets)
        return self._fits[question]

    # ---------------------------------------------------------------- what the history says

    def _learned(self, history: Sequence[Trial]) -> Sources:
        studies = by_study(history)
        if self._sources is None or self._sources[0] != studies:
            self._sources = (studies, Sources(studies, self._objectives, self._population))
        return self._sources[1]

    def _parents(self, history: Sequence[Trial]) -> list[Architecture]:
        """Return the best of this study and of each earlier one, whose mutants are worth a look."""
        studies = [
            [t for t in history if not t.origin and t.fidelity == 1.0 and t.status is Status.OK],
            *by_study(history),
        ]
        return [trial.architecture for trials in studies for trial in self._best(trials)]

    def _best(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return the best of `trials`, half of them from the newest of the Pareto front if there is one."""
        best = sorted(trials, key=lambda trial: key(trial.metrics or {}, self._objectives))
        front = pareto_front(trials, self._objectives) if len(self._objectives) > 1 else []
        return (front[-(_PARENTS // 2) :] + best)[:_PARENTS]


def _proven(candidates: Candidates, sources: Sources) -> int:
    """Return the candidate that earlier studies predict to be best, over all objectives."""
    left = candidates.left
    predicted = np.sum([each.mean(axis=1) for each in sources.predict(candidates.codes)], axis=0)
    return int(left[np.argmax(predicted[left])])


def _fitted(results: int) -> int:
    """Return after how many of so many results hyperparameters are fitted: after each of 25, then ever more rarely.

    The lengths are fixed, so that a search that was interrupted goes on as if it had not been.
    """
    if results < 25:
        return results
    step = 5 << ((results // 25).bit_length() - 1)
    return results - results % step


def _kept(targets: Array) -> NDArray[np.intp]:
    """Return the rows that the model is given, in order: all, or of too many the best half and the newest half."""
    if len(targets) <= MOST:
        return np.arange(len(targets))
    newest = np.arange(len(targets) - MOST // 2, len(targets))
    others = np.argsort(-targets[: newest[0]].mean(axis=1), kind="stable")[: MOST - len(newest)]
    return np.sort(np.concatenate([others, newest]))
