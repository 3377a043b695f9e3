"""Searches on Ray by estimators that are made in functions, so that workers get them by value: they see no test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.backends.ray_tune import RayRunner
from components.spec import RayRunnerSpec
from nas_core.interfaces import BatchEstimator, Estimator, Rung, Session
from nas_core.study import LedgerStudy
from nas_core.types import Budget, Trial

Estimate = Callable[[Trial, Session], Mapping[str, float]]


def spec(**options: Any) -> RayRunnerSpec:
    return RayRunnerSpec.model_validate({"kind": "ray", "address": "auto", **options})


def run(study: LedgerStudy, estimate: Estimate, folder: Path, budget: Budget, **options: Any) -> None:
    run_rungs(study, [Rung(1.0, one_by_one(estimate))], folder, budget, **options)


def run_rungs(study: LedgerStudy, rungs: Sequence[Rung], folder: Path, budget: Budget, **options: Any) -> None:
    RayRunner(spec(**options), folder, "cycle").run(study, rungs, budget)


def one_by_one(run_one: Estimate) -> Estimator:
    class One:
        def estimate(self, trial: Trial, session: Session) -> Mapping[str, float]:
            return run_one(trial, session)

    return One()


def cheap(run_some: Callable[[Sequence[Trial]], Sequence[Any]], size: int) -> BatchEstimator:
    class Cheap:
        batch = size

        def estimate_batch(self, trials: Sequence[Trial]) -> Sequence[Any]:
            return run_some(trials)

    return Cheap()
