"""What memory a trial's place has, and the search that gives no place to a trial which would not fit."""

from __future__ import annotations

import os
from functools import partial

from components.spec import LocalRunnerSpec, RunnerSpec
from nas_core.admission import Admission
from nas_core.interfaces import BatchEstimator, Estimator, Foreseeing, Study
from nas_core.machine_memory import available_mb, resident_mb
from nas_core.types import Architecture, Budget

_THIS_MACHINE = "local"
"""The address of a Ray that the search starts for itself."""


def admitted(runner: RunnerSpec, study: Study, estimator: Estimator | BatchEstimator, budget: Budget) -> Study:
    """Return `study` behind an `Admission`; as it is if nobody knows what a trial takes, or what its place has.

    A place has the `memory_mb` that the runner asks for; else, on this machine, its share of what is free now. Of a
    cluster's other machines nothing is known. On a GPU what a training takes is the device's memory, not the host's.
    """
    limit = place_mb(runner)
    if limit is None or not isinstance(estimator, Foreseeing):
        return study
    # A process of its own has to hold what this one does, too: libraries and data.
    own = 0.0 if isinstance(runner, LocalRunnerSpec) else resident_mb() or 0.0
    return Admission(study, budget, partial(_needed, estimator, own), limit)


def place_mb(runner: RunnerSpec) -> float | None:
    """Return the memory that a trial may hold, in MB of 10^6 bytes; None if it is not known."""
    if isinstance(runner, LocalRunnerSpec):
        return available_mb()
    if runner.gpus:
        return None
    if runner.memory_mb is not None:
        return runner.memory_mb
    free = available_mb()
    if runner.address != _THIS_MACHINE or free is None:
        return None
    at_once = max(1, int((os.cpu_count() or 1) / runner.cpus))
    return free / min(at_once, runner.max_concurrent or at_once)


def _needed(estimator: Foreseeing, own: float, architecture: Architecture) -> float:
    from nas_core.footprint import RESIDENT

    return own + RESIDENT * estimator.peak_memory_mb(architecture)
