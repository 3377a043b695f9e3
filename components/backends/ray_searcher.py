"""A study as Ray Tune sees it: a searcher that it asks for trials, and a scheduler that it tells of their reports.

Tune's own searchers, schedulers and restore are not used; their state would be a second record beside the ledger.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from components.backends.ray_batches import BatchLane
from components.backends.ray_cluster import one_line
from components.backends.ray_faults import Faults
from components.backends.ray_places import Places, node_of
from components.backends.ray_worker import OUTCOME, REPORT
from nas_core.budget import Meter
from nas_core.failures import failure
from nas_core.interfaces import Study
from nas_core.types import Failure, Metrics, Status, Trial

_LEAST_GRACE, _SHARE_OF_GRACE = 10.0, 0.1


@dataclass
class Running:
    """A trial that Tune has: Tune's object for it, and the machines that it has to avoid."""

    trial: Trial
    avoided: frozenset[str]
    tune: Any = None
    actor: Any = None
    """Ray's handle of its process, which Tune forgets before it tells that the process died."""

    @property
    def seconds(self) -> float:
        """How long it has run; what it waited for a place is no cost of it."""
        began = self.tune.run_metadata.start_time if self.tune else None
        return 0.0 if began is None else max(0.0, time.time() - began)


class StudySearcher(Searcher):  # type: ignore[misc]  # Ray is not typed
    """Tune's view of a study: `suggest` asks, `report`, `lose` and `on_trial_complete` tell.

    Cheap trials go to `lane`, if there is one, which works on while Tune's do. Tune takes an exception out of here for
    a trial's, logs it and goes on. So the first error of the study is kept, and `check`, which Tune passes at every
    step, ends the search with it. `timeout` is what a trial may take; one that a worker did not end itself is ended
    here a little later.
    """

    def __init__(
        self,
        study: Study,
        meter: Meter,
        places: Places,
        faults: Faults,
        lane: BatchLane | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__()
        self.running: dict[str, Running] = {}
        self._study, self._meter, self._places, self._faults, self._lane = study, meter, places, faults, lane
        self._timeout = timeout
        self._waiting: deque[Trial] = deque()
        self._error: Exception | None = None

    # ---------------------------------------------------------------- what Tune asks

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial as a Tune config; None: not now; FINISHED: never again."""
        self.check()
        trial = self._next()
        while trial is None and not self.running and self._lane and self._lane.count:
            self._lane.poll(timeout=1.0)  # Tune, with nothing to run, would look once a second
            trial = self._next()
        if trial is None:
            return None if self.running or self._waiting else Searcher.FINISHED
        avoided = frozenset(self._faults.avoided(trial.number))
        self.running[trial_id] = Running(trial, avoided)
        return {"trial": trial, "avoided": ",".join(sorted(avoided))}

    def _next(self) -> Trial | None:
        self._ask()
        if not self._waiting or len(self.running) >= self._places.now:
            return None
        guarded = (self._waiting[0], *(running.trial for running in self.running.values()))
        if self.running and any(self._faults.alone(trial.number) for trial in guarded):
            return None
        return self._waiting.popleft()

    def _ask(self) -> None:
        """Ask for what has a place: one trial for Tune or, with two lanes, as many as a cheap chunk may hold.

        Which lane a trial is for shows only when it is there; those that Tune has no place for yet wait here.
        """
        while True:
            free = self._places.now - len(self.running) - len(self._waiting)
            lane = self._lane
            if lane and lane.free and len(self._waiting) < self._places.now:
                wanted = lane.batch
            else:
                wanted = 1 if free > 0 and not self._waiting else 0
            seconds = sum(running.seconds for running in self.running.values())
            count = len(self.running) + len(self._waiting)
            if lane:
                seconds, count = seconds + lane.seconds, count + lane.count
            room = self._meter.room(wanted, count, seconds) if wanted else 0
            trials = self._study.ask(room) if room else ()
            if not trials:
                return
            cheap = [trial for trial in trials if lane and lane.takes(trial)]
            if lane and cheap:
                lane.add(cheap)
            taken = {trial.number for trial in cheap}
            self._waiting += (trial for trial in trials if trial.number not in taken)

    def check(self) -> None:
        """Raise what has to end the search, and see to what nobody tells: trials that ended silently, or hang."""
        for trial_id, running in list(self.running.items()):
            if running.tune is None:
                continue
            running.actor = running.tune.temporary_state.ray_actor or running.actor
            if running.tune.is_finished():
                self.lose(trial_id, told_by(running.tune))
            elif self._hangs(running):
                self._end(trial_id, failure(Status.FAILED, "timeout", f"took more than {self._timeout:g} s, and hung"))
                _kill(running)
        if self._lane and not self._error:
            self._lane.poll()
            self._ask()
        if self._error:
            raise self._error

    def _hangs(self, running: Running) -> bool:
        limit = self._timeout
        return limit is not None and running.seconds > limit + max(_LEAST_GRACE, _SHARE_OF_GRACE * limit)

    def stuck(self) -> list[Any]:
        """Take back trials whose last allowed machine has gone while they waited for it; return Tune's objects."""
        found = []
        for trial_id, running in list(self.running.items()):
            waits = running.tune is not None and running.tune.status == "PENDING" and running.avoided
            if waits and not self._places.fitting(running.avoided):
                self._waiting.appendleft(self.running.pop(trial_id).trial)
                found.append(running.tune)
        return found

    # ---------------------------------------------------------------- what Tune tells

    def report(self, trial_id: str, step: int, metrics: Metrics) -> bool:
        """Hand on a report; True: the trial has to stop."""
        running = self.running.get(trial_id)
        if running is None or self._error:
            return True
        try:
            return self._study.report(running.trial.number, step, metrics)
        except Exception as error:  # noqa: BLE001 - `check` raises it where Tune lets it through
            self._error = error
            return True

    def lose(self, trial_id: str, told: str) -> None:
        """Tell that an attempt has no outcome; what Ray told of it says why."""
        running = self.running.pop(trial_id, None)
        if running is None or self._error:  # Tune tells twice of what it takes for an error
            return
        try:
            self._faults.lost(running.trial.number, told, running.seconds, node_of(running.actor))
        except Exception as error:  # noqa: BLE001 - `check` raises it where Tune lets it through
            self._error = error
        _kill(running)

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:  # noqa: ARG002  Ray names it
        """Tell what the worker returned. The study knows better of a trial that it stopped."""
        outcome, seconds = (result or {}).get(OUTCOME) or (failure(Status.LOST, "worker", "it was stopped"), None)
        self._end(trial_id, outcome, seconds)

    def _end(self, trial_id: str, outcome: Metrics | Failure, seconds: float | None = None) -> None:
        running = self.running.pop(trial_id, None)
        if running is None or self._error:
            return
        try:
            self._study.tell(running.trial.number, outcome, running.seconds if seconds is None else seconds)
            self._faults.ended(running.trial.number)
        except Exception as error:  # noqa: BLE001 - `check` raises it where Tune lets it through
            self._error = error

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

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        """Keep Tune's object, which knows how the trial ended if nobody else tells."""
        _let_a_starved_actor_be_a_dead_one(controller._tune_controller._actor_manager)  # noqa: SLF001
        self.searcher.running[trial.trial_id].tune = trial

    def on_trial_result(self, _controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        """Return STOP when the study does not want the trial to go on."""
        report = result.get(REPORT)
        stop = report is not None and self.searcher.report(trial.trial_id, *report)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, _controller: Any, trial: Any) -> None:
        """Tell that the trial is lost."""
        self.searcher.lose(trial.trial_id, told_by(trial))

    def choose_trial_to_run(self, controller: Any) -> None:
        """Leave the order to Tune, which starts waiting trials as they came; looking through all takes ever longer."""
        self.searcher.check()
        for trial in self.searcher.stuck():
            controller.stop_trial(trial)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the study out of Tune's snapshots, which are pickles."""
        return {}


def told_by(trial: Any) -> str:
    """Return what Tune wrote down about the trial's end, nothing if it did not."""
    path = Path(trial.error_file) if trial.error_file else None
    return one_line(path.read_text(encoding="utf-8", errors="replace")) if path and path.exists() else ""


def _kill(running: Running) -> None:
    """End the trial's process, if it is there: one that hangs, or that Ray cannot reach and that may go on."""
    if running.actor is not None:
        with suppress(ray.exceptions.RayError, ValueError):
            ray.kill(running.actor)


def _let_a_starved_actor_be_a_dead_one(manager: Any) -> None:
    """Let Tune hear that an actor died when Ray killed it for want of memory.

    Ray has an error of another type for that, on which Tune 2.60 ends the whole search ("Caught unexpected exception").
    """
    tell = manager._actor_task_failed  # noqa: SLF001
    if getattr(tell, "evernas", False):
        return

    def failed(tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, ray.exceptions.OutOfMemoryError):
            exception = ray.exceptions.RayActorError(error_msg=str(exception))
        tell(tracked_actor_task=tracked_actor_task, exception=exception)

    failed.evernas = True  # type: ignore[attr-defined]
    manager._actor_task_failed = failed  # noqa: SLF001
