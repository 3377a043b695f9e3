"""Trials on Ray Tune. The study stays the only judge: Tune asks it for trials and tells it what came of them.

Tune's own searchers, schedulers and restore are not used; their state would be a second record beside the ledger.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from ray import tune
from ray.tune.error import TuneError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from components.backends.ray_cluster import connected, one_line, places
from components.backends.ray_worker import OUTCOME, REPORT, evaluate
from components.spec import RayRunnerSpec
from nas_core.errors import OutsideError
from nas_core.failures import failure
from nas_core.interfaces import Rung, Study
from nas_core.types import Budget, Failure, Metrics, Status, Trial

_LEAST_LOST = 5


@dataclass
class Running:
    """A trial that Tune has: its number in the study, when it was given out, and Tune's object for it."""

    number: int
    began: float
    tune: Any = None


class StudySearcher(Searcher):  # type: ignore[misc]  # Ray is not typed
    """Tune's view of a study: `suggest` asks, `report`, `lose` and `on_trial_complete` tell.

    Tune takes an exception out of here for a trial's, logs it and goes on. So the first error of the study is kept, and
    `check`, which Tune passes at every step, ends the search with it. It also ends with an OutsideError when more
    trials in a row are lost than ran at a time, and at least five: then it is not a machine that broke, but all do.
    """

    def __init__(self, study: Study, budget: Budget, concurrent: int) -> None:
        super().__init__()
        self.study = study
        self.concurrent = concurrent
        self.running: dict[str, Running] = {}
        ended = sum(not trial.origin and trial.status is not Status.PENDING for trial in study.history)
        self._left = None if budget.trials is None else budget.trials - ended
        self._deadline = None if budget.seconds is None else time.monotonic() + budget.seconds
        self._lost = 0
        self._error: Exception | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial as a Tune config; None: not now; FINISHED: never again."""
        self.check()
        if len(self.running) >= self.concurrent:
            return None
        asked = [] if self._spent() else self.study.ask(1)
        if not asked:
            return None if self.running else Searcher.FINISHED
        if self._left is not None:
            self._left -= 1
        self.running[trial_id] = Running(asked[0].number, time.monotonic())
        return {"trial": asked[0]}

    def check(self) -> None:
        """Raise what has to end the search, and tell of trials that Tune ended without a word."""
        for trial_id, trial in list(self.running.items()):
            if trial.tune and trial.tune.is_finished():
                self.lose(trial_id, _told_by(trial.tune))
        if self._error:
            raise self._error

    def report(self, trial_id: str, step: int, metrics: Metrics) -> bool:
        """Hand on a report; True: the trial has to stop."""
        trial = self.running.get(trial_id)
        if trial is None or self._error:
            return True
        try:
            return self.study.report(trial.number, step, metrics)
        except Exception as error:  # noqa: BLE001 - `check` raises it where Tune lets it through
            self._error = error
            return True

    def lose(self, trial_id: str, told: str) -> None:
        """Tell that a trial has no outcome; what Ray told of it is the reason."""
        code = "node" if "its node has died" in told else "worker"
        self._end(trial_id, failure(Status.LOST, code, told or "it ended without an outcome"))

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:  # noqa: ARG002  Ray names it
        """Tell what the worker returned. The study knows better of a trial that it stopped."""
        outcome, seconds = (result or {}).get(OUTCOME) or (None, None)
        if outcome is None:
            self.lose(trial_id, "")
        else:
            self._end(trial_id, outcome, seconds)

    def _end(self, trial_id: str, outcome: Metrics | Failure, seconds: float | None = None) -> None:
        trial = self.running.pop(trial_id, None)
        if trial is None or self._error:  # Tune tells twice of what it takes for an error
            return
        try:
            self.study.tell(trial.number, outcome, time.monotonic() - trial.began if seconds is None else seconds)
            self._count(self.study.history[trial.number])
        except Exception as error:  # noqa: BLE001 - `check` raises it where Tune lets it through
            self._error = error

    def _count(self, trial: Trial) -> None:
        self._lost = self._lost + 1 if trial.status is Status.LOST else 0
        if self._lost >= max(_LEAST_LOST, self.concurrent + 1):
            raise OutsideError(
                f"Ray: {self._lost} trials in a row were lost, the last one with {trial.error!r}; "
                "look whether the workers have this version of evernas, its packages and the run's folder"
            )

    def _spent(self) -> bool:
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return late or (self._left is not None and self._left <= 0)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the ledger has all of it."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: a study is opened from its ledger."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave the study out of Tune's snapshots, which are pickles."""
        return {}


class StudyScheduler(FIFOScheduler):  # type: ignore[misc]  # Ray is not typed
    """Tells the searcher what Tune tells schedulers only: reports, and why a trial was lost."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self.searcher = searcher

    def on_trial_add(self, _controller: Any, trial: Any) -> None:
        """Keep Tune's object, which knows how the trial ended if nobody else tells."""
        self.searcher.running[trial.trial_id].tune = trial

    def on_trial_result(self, _controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        """Return STOP when the study does not want the trial to go on."""
        report = result.get(REPORT)
        stop = report is not None and self.searcher.report(trial.trial_id, *report)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, _controller: Any, trial: Any) -> None:
        """Tell that the trial is lost."""
        self.searcher.lose(trial.trial_id, _told_by(trial))

    def choose_trial_to_run(self, _controller: Any) -> None:
        """Leave the order to Tune, which starts waiting trials as they came; looking through all takes ever longer."""
        self.searcher.check()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the study out of Tune's snapshots, which are pickles."""
        return {}


def _told_by(trial: Any) -> str:
    """Return what Tune wrote down about the trial's end, nothing if it did not."""
    path = Path(trial.error_file) if trial.error_file else None
    return one_line(path.read_text(encoding="utf-8", errors="replace")) if path and path.exists() else ""


class RayRunner:
    """Runs a study on Ray, with checkpoints in `folder`, which all machines see; `name` names what Tune makes."""

    def __init__(self, spec: RayRunnerSpec, folder: Path, name: str) -> None:
        self.spec, self.folder, self.name = spec, folder.resolve(), name

    def run(self, study: Study, rungs: Sequence[Rung], budget: Budget) -> None:
        """Run until the budget is spent or the study is exhausted; it counts as in `nas_core.runner.LocalRunner`.

        OutsideError if Ray fails as a whole, InputError if no trial fits on the cluster. What the study raises, and
        KeyboardInterrupt and SystemExit, end the search where it is.
        """
        scratch = self.folder / "_tune"
        with connected(self.spec.address):
            searcher = StudySearcher(study, budget, places(self.spec))
            try:
                self._tuner(searcher, tuple(rungs), scratch).fit()
            except TuneError as error:
                searcher.check()
                raise OutsideError(f"Ray Tune: {one_line(error)}") from error
        shutil.rmtree(scratch, ignore_errors=True)

    def _tuner(self, searcher: StudySearcher, rungs: tuple[Rung, ...], scratch: Path) -> tune.Tuner:
        device = "cuda" if self.spec.gpus else "cpu"
        worker = tune.with_parameters(evaluate, rungs=rungs, folder=self.folder, device=device)
        return tune.Tuner(
            tune.with_resources(worker, {"cpu": self.spec.cpus, "gpu": self.spec.gpus}),
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
                verbose=0,
            ),
        )
