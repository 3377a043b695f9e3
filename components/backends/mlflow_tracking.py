"""MLflow as a mirror of the ledger: one parent run a cycle, one child run a candidate, nothing that only MLflow knows.

Everything here may be done again: runs are found by their tags, and logging the same batch twice changes nothing. So a
mirror that was interrupted, or that starts late because the server was down, reads the ledger and catches up.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from components.backends.mlflow_limits import (
    LONGEST_PARAM,
    LONGEST_TAG,
    MOST_METRICS,
    MOST_PARAMS,
    cut,
    named,
    slices,
)
from components.spec import TrackingSpec
from nas_core.errors import OutsideError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

P = ParamSpec("P")
R = TypeVar("R")

_PARENT = "mlflow.parentRunId"
_ENDED = ("FINISHED", "FAILED")
_PAUSES = (0.5, 2.0)


@dataclass(frozen=True)
class Candidate:
    """One trial with its outcome, as a child run shows it.

    Times are milliseconds since 1970; points are `(metric, value, time, step)`.
    """

    number: int
    name: str
    params: Mapping[str, str]
    points: Sequence[tuple[str, float, int, int]]
    tags: Mapping[str, str]
    failed: bool
    start: int
    end: int


def tracking_uri(spec: TrackingSpec, root: Path) -> str:
    """Return where MLflow keeps its runs: the spec's URI, or a SQLite file in `root`."""
    return spec.uri or f"sqlite:///{(root / 'mlflow.db').resolve()}"


def _patiently(method: Callable[Concatenate[Tracker, P], R]) -> Callable[Concatenate[Tracker, P], R]:
    """Do again what failed, twice; then it is an OutsideError.

    A request whose answer was lost may have been heard, so what there is is looked up anew. What MLflow and the wire
    raise has no base class in common, so all of it is caught.
    """

    @wraps(method)
    def repeated(self: Tracker, /, *args: P.args, **kwargs: P.kwargs) -> R:
        for pause in _PAUSES:
            try:
                return method(self, *args, **kwargs)
            except Exception:  # noqa: BLE001 - raised below if it happens again
                self.forget()
                time.sleep(pause)
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.forget()
            raise OutsideError(f"MLflow: {type(error).__name__}: {error}") from error

    return repeated


@dataclass
class Tracker:
    """The cycle `run` in the experiment `experiment`. Its methods raise OutsideError when MLflow cannot be reached."""

    spec: TrackingSpec
    root: Path
    experiment: str
    run: str
    _children: dict[int, tuple[str, bool]] | None = field(default=None, init=False)

    def forget(self) -> None:
        """Ask MLflow anew which candidates it has."""
        self._children = None

    @_patiently
    def describe(self, *, params: Mapping[str, Any] = {}, tags: Mapping[str, Any] = {}) -> None:
        """Set parameters and tags of the parent run."""
        from mlflow.entities import RunTag

        keys = named(tags)
        marks = [RunTag(keys[key], cut(str(value), LONGEST_TAG)) for key, value in tags.items()]
        for batch in slices(marks, MOST_PARAMS):
            self._client.log_batch(self.parent, tags=batch)
        self._log(self.parent, params, [])

    @_patiently
    def measure(self, metrics: Mapping[str, float], at: int) -> None:
        """Log figures of the parent run at the time `at` (ms); the same call again changes nothing."""
        self._log(self.parent, {}, [(name, value, at, 0) for name, value in metrics.items()])

    @_patiently
    def dataset(self, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """Log the cycle's data, once, on the parent run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(
            name=name,
            digest=digest[:36],
            source_type="evernas",
            source=json.dumps({"source": source}),
            schema=None,
            profile=json.dumps(profile),
        )
        if not self._client.get_run(self.parent).inputs.dataset_inputs:
            self._client.log_inputs(self.parent, [DatasetInput(data, [InputTag("mlflow.data.context", "search")])])

    @_patiently
    def files(self, paths: Iterable[Path], folder: str | None = None) -> None:
        """Store files as artifacts of the parent run."""
        for path in paths:
            self._client.log_artifact(self.parent, str(path), folder)

    @_patiently
    def mirror(self, candidate: Candidate) -> None:
        """Make the child run of `candidate`, whole; nothing if it is there, the rest if it was begun."""
        run_id, done = self._known().get(candidate.number, ("", False))
        if done:
            return
        if not run_id:
            tags = {
                **{key: cut(value, LONGEST_TAG) for key, value in candidate.tags.items()},
                _PARENT: self.parent,
                "evernas.run": self.run,
                "evernas.kind": "candidate",
                "evernas.trial": str(candidate.number),
            }
            made = self._client.create_run(
                self._experiment, start_time=candidate.start, tags=tags, run_name=candidate.name
            )
            run_id = made.info.run_id
        self._log(run_id, candidate.params, candidate.points)
        self._client.set_terminated(run_id, _ENDED[candidate.failed], end_time=candidate.end)
        self._known()[candidate.number] = (run_id, True)

    @_patiently
    def close(self, status: str) -> None:
        """End the parent run as FINISHED, FAILED or KILLED; its end stays as it is if it has that already."""
        if self._client.get_run(self.parent).info.status != status:
            self._client.set_terminated(self.parent, status)

    @property
    def parent(self) -> str:
        """The id of the cycle's run: the one that Kubeflow Pipelines made, or the one with our tag, or a new one."""
        return self._place[1]

    @property
    def _experiment(self) -> str:
        return self._place[0]

    @cached_property
    def _client(self) -> MlflowClient:
        for chatty in ("mlflow.store.db.utils", "alembic"):  # they tell of every table that they make
            logging.getLogger(chatty).setLevel(logging.WARNING)
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri(self.spec, self.root))

    @cached_property
    def _place(self) -> tuple[str, str]:
        """The ids of the experiment and of the parent run; MLflow shows children under a parent of their experiment."""
        ours = {"evernas.run": self.run, "evernas.kind": "cycle"}
        if given := os.environ.get("MLFLOW_RUN_ID"):
            for key, value in ours.items():
                self._client.set_tag(given, key, value)
            return str(self._client.get_run(given).info.experiment_id), given
        experiment = self._experiment_by_name()
        run = next(self._search(experiment, "cycle"), None) or self._client.create_run(
            experiment, tags=ours, run_name=self.run
        )
        return experiment, str(run.info.run_id)

    def _experiment_by_name(self) -> str:
        """Return the experiment's id; made on first use, its artifacts beside a SQLite file, else where MLflow says."""
        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        beside = None if self.spec.uri else (self.root / "mlartifacts" / self.experiment).resolve().as_uri()
        return str(self._client.create_experiment(self.experiment, artifact_location=beside))

    def _known(self) -> dict[int, tuple[str, bool]]:
        """Return the child runs there are: trial number -> (run id, whether it is whole).

        If a trial has two, because the answer to the creation of the first was lost, the second is deleted.
        """
        if self._children is None:
            children: dict[int, tuple[str, bool]] = {}
            for run in sorted(
                self._search(self._experiment, "candidate"), key=lambda run: run.info.status not in _ENDED
            ):
                number = int(run.data.tags["evernas.trial"])
                if number in children:
                    self._client.delete_run(run.info.run_id)
                else:
                    children[number] = (str(run.info.run_id), run.info.status in _ENDED)
            self._children = children
        return self._children

    def _search(self, experiment: str, kind: str) -> Iterator[Any]:
        wanted, token = f"tags.`evernas.run` = '{self.run}' and tags.`evernas.kind` = '{kind}'", None
        while True:
            page = self._client.search_runs(
                [experiment], wanted, max_results=1000, order_by=["attributes.start_time ASC"], page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _log(self, run_id: str, params: Mapping[str, Any], points: Sequence[tuple[str, float, int, int]]) -> None:
        """Log parameters and points in as few requests as MLflow allows."""
        from mlflow.entities import Metric, Param

        keys, names = named(params), named(metric for metric, *_ in points)
        written = [Param(keys[key], cut(str(value), LONGEST_PARAM)) for key, value in params.items()]
        metrics = [Metric(names[metric], float(value), at, step) for metric, value, at, step in points]
        for some, more in zip_longest(slices(written, MOST_PARAMS), slices(metrics, MOST_METRICS), fillvalue=()):
            self._client.log_batch(run_id, params=some, metrics=more)
