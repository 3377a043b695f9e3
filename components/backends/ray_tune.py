"""Trials on Ray: under Tune, or as tasks where they are cheap. The study stays the only judge in both lanes."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from uuid import uuid4

import ray
from ray import tune
from ray.tune.error import TuneError

from components.backends.ray_batches import BatchLane, run_batches
from components.backends.ray_cluster import connected, one_line
from components.backends.ray_faults import Faults
from components.backends.ray_places import NODE, Places, demand, placed, task_options
from components.backends.ray_searcher import StudyScheduler, StudySearcher
from components.backends.ray_worker import CheckpointStore, Job, evaluate
from components.spec import RayRunnerSpec
from nas_core.budget import Meter
from nas_core.checkpoints import Checkpoints
from nas_core.errors import InputError, OutsideError
from nas_core.interfaces import BatchEstimator, Rung, Study
from nas_core.types import Budget

# It lists attempts that were lost, as if nothing had come of their trials; the record has them.
logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)


class RayRunner:
    """Runs a study on Ray; `name` names what Tune makes in `folder`, which the driver alone needs to see.

    `checkpoints` makes what trials save to and restore from, in the worker; without it that is `folder`, which then all
    machines have to see. Trials go on from their checkpoints when a worker or its machine has died.
    """

    def __init__(
        self, spec: RayRunnerSpec, folder: Path, name: str, checkpoints: Callable[[], CheckpointStore] | None = None
    ) -> None:
        self.spec, self.folder, self.name = spec, folder.resolve(), name
        self.checkpoints = checkpoints or partial(Checkpoints, self.folder)

    def run(self, study: Study, rungs: Sequence[Rung], budget: Budget) -> None:
        """Run until the budget is spent or the study is exhausted; it counts as in `nas_core.runner.LocalRunner`.

        Rungs of a `BatchEstimator` are run in chunks as tasks, all others one by one under Tune, both at the same time.
        OutsideError if Ray fails as a whole, InputError if no trial fits on the cluster or no rung takes full fidelity.
        What the study raises, and KeyboardInterrupt and SystemExit, end the search where it is.
        """
        ladder = _ladder(rungs)
        with connected(self.spec.address):
            places = Places(self.spec)
            faults, meter = Faults(study, self.spec.retries, places), Meter(study, budget)
            held = ray.put(ladder)
            cheap = [isinstance(rung.estimator, BatchEstimator) for rung in ladder]
            lane = None
            if any(cheap):
                options = task_options(demand(self.spec)) if all(cheap) else _beside(places)
                lane = BatchLane(study, faults, ladder, held, places.now, options)
            if lane and all(cheap):
                run_batches(study, lane, meter)
                return
            try:
                self._tune(StudySearcher(study, meter, places, faults, lane, self.spec.timeout_seconds), held)
            finally:
                if lane:
                    lane.close()

    def _tune(self, searcher: StudySearcher, held: ray.ObjectRef) -> None:
        scratch = self.folder / "_tune"
        try:
            self._tuner(searcher, held, scratch).fit()
        except TuneError as error:
            searcher.check()
            raise OutsideError(f"Ray Tune: {one_line(error)}") from error
        shutil.rmtree(scratch, ignore_errors=True)

    def _tuner(self, searcher: StudySearcher, held: ray.ObjectRef, scratch: Path) -> tune.Tuner:
        job = Job(held, self.checkpoints, "cuda" if self.spec.gpus else "cpu", self.spec.timeout_seconds)
        worker = tune.with_parameters(evaluate, job=job)
        return tune.Tuner(
            tune.with_resources(worker, partial(placed, asked=demand(self.spec))),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=StudyScheduler(searcher),
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: f"trial-{trial.config['trial'].number}-{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                name=f"{self.name}-{uuid4().hex[:8]}",  # one that was used before would destroy what lies there
                storage_path=str(scratch),
                failure_config=tune.FailureConfig(max_failures=0),  # the study says what runs again
                verbose=0,
            ),
        )


def _ladder(rungs: Sequence[Rung]) -> list[Rung]:
    ladder = sorted(rungs, key=lambda rung: rung.fidelity)
    if not ladder or ladder[-1].fidelity < 1:
        highest = ladder[-1].fidelity if ladder else "none"
        raise InputError(f"rungs: the last must take trials of fidelity 1, got {highest}; add an estimator for them")
    return ladder


def _beside(places: Places) -> dict[str, object]:
    """Return the options of cheap tasks that share the cluster with Tune: where trials fit, and beside them.

    Tune keeps the places of its processes between trials. A task that asked for one would wait for them for ever, when
    all that Tune could run next depends on that task.
    """
    return {"num_cpus": 0, "label_selector": {NODE: f"in({','.join(places.fitting())})"}}
