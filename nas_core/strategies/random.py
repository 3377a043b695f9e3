"""Random search: the baseline that every strategy has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas_core import space as algebra
from nas_core.strategies._drawing import Draw, Drawing
from nas_core.types import Proposal, Trial


class Random(Drawing):
    """Random search without repeats: every active decision takes each of its options with equal probability."""

    def _drawing(self, _history: Sequence[Trial], rng: np.random.Generator, /) -> Draw:
        return lambda _: Proposal(architecture=algebra.sample(self._space, rng), why=(("drawn", "at random"),))
