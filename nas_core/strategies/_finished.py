"""The order in which trials taught us something."""

from __future__ import annotations

from collections.abc import Sequence

from nas_core.types import Status, Trial


def finished(history: Sequence[Trial]) -> list[Trial]:
    """Return the ok trials of full fidelity, first to last; those of an earlier cycle came before all of this one."""
    done = [trial for trial in history if trial.status is Status.OK and trial.fidelity == 1.0]
    return sorted(done, key=_age)


def _age(trial: Trial) -> tuple[int, int]:
    return (-1 if trial.finished is None or trial.origin else trial.finished, trial.number)
