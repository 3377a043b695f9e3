"""What earlier cycles learned, as columns beside an architecture's codes: a multi-task form of the Gaussian process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas_core.strategies._architecture_features import as_options
from nas_core.strategies._candidates import Population
from nas_core.strategies._gaussian_process import MOST, Array, Columns, Kernel, Posterior
from nas_core.strategies._targets import Scale, values
from nas_core.types import Objective, Status, Trial

_STUDIES = 4
"""How many earlier studies are looked at, the latest ones: the data have drifted since the others."""

_FEWEST = 3
"""A study of fewer results has no trend to tell."""


def by_study(history: Sequence[Trial]) -> list[list[Trial]]:
    """Return the full results of the latest earlier studies, those of one study together."""
    studies: dict[str, list[Trial]] = {}
    for trial in history:
        if trial.origin and trial.status is Status.OK and trial.fidelity == 1.0:
            studies.setdefault(trial.origin.rpartition("#")[0], []).append(trial)
    return [trials[-MOST:] for trials in studies.values() if len(trials) >= _FEWEST][-_STUDIES:]


class Sources:
    """S earlier studies: for each objective, what a Gaussian process of each study alone predicts.

    A prediction is standardised over the space and enters as one nonlinear and one linear column, with a relevance of
    its own in both. So a study that met similar data comes to count much, and one that misleads little, by as few
    results as tell the two apart.
    """

    def __init__(
        self, studies: Sequence[Sequence[Trial]], objectives: Sequence[Objective], population: Population
    ) -> None:
        self._models = [[_Study(trials, objective, population) for trials in studies] for objective in objectives]
        everyone = tuple(range(len(studies)))
        self.columns = Columns(everyone, everyone)
        self._encoded = population.encoder.columns

    def predict(self, codes: Array) -> list[Array]:
        """Return for each objective the predictions (N, S), standardised, more is better."""
        nothing = np.zeros((len(codes), 0))
        return [np.column_stack([nothing, *(model(codes) for model in models)]) for models in self._models]

    def beside(self, codes: Array) -> list[Array]:
        """Return for each objective `codes` with the columns of all studies beside them."""
        # Nonlinear columns are scaled as the encoder's parts are: a squared distance of 1 between two at random.
        share = np.sqrt(0.5 / max(len(self.columns.linear), 1))
        return [
            self._encoded.join(codes, np.hstack([share * predicted, predicted]), self.columns)
            for predicted in self.predict(codes)
        ]


class _Study:
    def __init__(self, trials: Sequence[Trial], objective: Objective, population: Population) -> None:
        self._kernel = Kernel(population.encoder.columns)
        self._codes = population.encoder(as_options([trial.architecture for trial in trials], population.decisions))
        measured = values(trials, objective)
        self._targets = Scale(measured, objective)(measured)
        self._h = self._kernel.fit(self._codes, self._targets)
        self._reference = population.encoder.reference
        self._at_reference = self._mean(self._reference)

    def _mean(self, codes: Array) -> Array:
        return Posterior(self._kernel, self._h, self._codes, self._targets, codes).mean

    def __call__(self, codes: Array) -> Array:
        # Where a space is looked at whole, it is asked about the same codes each time.
        mean = self._at_reference if codes is self._reference else self._mean(codes)
        return np.asarray((mean - self._at_reference.mean()) / (self._at_reference.std() or 1.0))
