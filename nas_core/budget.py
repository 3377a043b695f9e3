"""How much of a budget is left: the one rule by which every runner begins trials."""

from __future__ import annotations

import time
from collections.abc import Callable

from nas_core.interfaces import Study
from nas_core.types import Budget


class Meter:
    """What a study may still begin within `budget`, counted from its record and this process's clock.

    What earlier processes took counts. Trials that run are finished, and so are those that a killed process left
    behind; a search goes beyond its cap by no more than these.
    """

    def __init__(self, study: Study, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self._study, self._budget, self._clock = study, budget, clock
        self._began, self._seconds_before = clock(), study.spent.seconds

    def room(self, wanted: int, running: int = 0, running_seconds: float = 0.0) -> int:
        """Return how many of `wanted` trials may begin now; once a cap is reached, those only that were left behind.

        `running` trials have begun in this process and not ended, and have taken `running_seconds` in all so far.
        """
        budget, spent = self._budget, self._study.spent
        left_behind = max(0, min(wanted, spent.pending - running))
        if budget.seconds is not None and self.seconds >= budget.seconds:
            return left_behind
        if budget.trial_seconds is not None and spent.trial_seconds + running_seconds >= budget.trial_seconds:
            return left_behind
        return wanted if budget.trials is None else max(0, min(wanted, budget.trials - spent.trials - running))

    @property
    def seconds(self) -> float:
        """Wall clock of the search, earlier processes' share included."""
        return self._seconds_before + self._clock() - self._began
