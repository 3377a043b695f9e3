"""MLflow as a mirror of the ledger: one parent run a cycle, one child run a candidate, nothing that only MLflow knows.

Everything here may be done again: runs are found by their tags, and logging the same batch twice changes nothing. So a
mirror that was interrupted, or that starts late because the server was down, reads the ledger and catches up.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from components.backends.mlflow_limits import MOST_METRICS, MOST_PARAMS, slices
from components.backends.mlflow_records import (
    ADOPTED,
    KIND,
    RUN,
    Candidate,
    Point,
    record,
    shown_params,
    shown_points,
    shown_tags,
)
from components.backends.mlflow_runs import Children, place
from components.spec import TrackingSpec
from nas_core.errors import OutsideError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = ["Candidate", "Tracker", "outside", "tracking_uri"]

P = ParamSpec("P")
R = TypeVar("R")

_PAUSES = (0.5, 2.0)


def tracking_uri(spec: TrackingSpec, root: Path) -> str:
    """Return where MLflow keeps its runs: the spec's URI, or a SQLite file in `root`."""
    return spec.uri or f"sqlite:///{(root / 'mlflow.db').resolve()}"


def outside(error: Exception) -> OutsideError:
    """Return `error`, which MLflow or the wire has raised, as one of ours."""
    return OutsideError(f"MLflow: {type(error).__name__}: {error}")


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
                time.sleep(pause)
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            raise outside(error) from error

    return repeated


@dataclass
class Tracker:
    """The cycle `run` in the experiment `experiment`. Its methods raise OutsideError when MLflow cannot be reached."""

    spec: TrackingSpec
    root: Path
    experiment: str
    run: str
    _children: Children | None = field(default=None, init=False)

    def forget(self) -> None:
        """Ask MLflow anew which candidates it has."""
        self._children = None

    @_patiently
    def known(self) -> dict[int, bool]:
        """Return by its number whether each candidate that has a run is whole."""
        return self._known().known()

    @_patiently
    def describe(self, *, params: Mapping[str, Any] = {}, tags: Mapping[str, Any] = {}) -> None:
        """Set parameters and tags of the parent run."""
        from mlflow.entities import RunTag

        marks = [RunTag(key, value) for key, value in shown_tags(tags).items()]
        for batch in slices(marks, MOST_PARAMS):
            self.client.log_batch(self.parent, tags=batch)
        self._log(self.parent, shown_params(params), [])

    @_patiently
    def measure(self, metrics: Mapping[str, float], at: int) -> None:
        """Log figures of the parent run at the time `at` (ms); the same call again changes nothing."""
        self._log(self.parent, {}, shown_points([(name, value, at, 0) for name, value in metrics.items()]))

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
        if not self.client.get_run(self.parent).inputs.dataset_inputs:
            self.client.log_inputs(self.parent, [DatasetInput(data, [InputTag("mlflow.data.context", "search")])])

    @_patiently
    def files(self, paths: Iterable[Path], folder: str | None = None) -> None:
        """Store files as artifacts of the parent run."""
        for path in paths:
            self.client.log_artifact(self.parent, str(path), folder)

    @_patiently
    def mirror(self, candidate: Candidate) -> None:
        """Make the child run of `candidate`, whole; nothing if it is there, the rest if it was begun."""
        children = self._known()
        run_id, whole = children.look(candidate.number)
        if whole:
            return
        shown = record(candidate, self.run, self.parent)
        children.begin(candidate.number)
        if not run_id:
            made = self.client.create_run(
                self._experiment, start_time=shown.start, tags=shown.tags, run_name=shown.name
            )
            run_id = made.info.run_id
        self._log(run_id, shown.params, shown.points)
        self.client.set_terminated(run_id, shown.status, end_time=shown.end)
        children.end(candidate.number)

    @_patiently
    def close(self, status: str, at: int | None = None) -> bool:
        """End the parent run as FINISHED, FAILED or KILLED at the time `at` (ms), else now.

        False, and nothing is changed, if it has that end already.
        """
        info = self.client.get_run(self.parent).info
        if info.status == status and at in (None, info.end_time):
            return False
        self.client.set_terminated(self.parent, status, end_time=at)
        return True

    @property
    def parent(self) -> str:
        """The id of the cycle's run: the one that Kubeflow Pipelines made, or the one with our tag, or a new one."""
        return self._place[1]

    @property
    def _experiment(self) -> str:
        return self._place[0]

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's own client; what it raises is its own as well."""
        for chatty in ("mlflow.store.db.utils", "alembic"):  # they tell of every table that they make
            logging.getLogger(chatty).setLevel(logging.WARNING)
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri(self.spec, self.root))

    @cached_property
    def _place(self) -> tuple[str, str]:
        """The ids of the experiment and of the parent run; MLflow shows children under a parent of their experiment."""
        ours = {RUN: self.run, KIND: "cycle"}
        if given := os.environ.get("MLFLOW_RUN_ID"):
            for key, value in {**ours, ADOPTED: self.experiment}.items():
                self.client.set_tag(given, key, value)
            return str(self.client.get_run(given).info.experiment_id), given
        known = self.client.get_experiment_by_name(self.experiment)
        found = place(self.client, known and known.experiment_id, self.experiment, self.run)
        if found:
            return found
        experiment = known.experiment_id if known else self._new_experiment()
        return experiment, self.client.create_run(experiment, tags=ours, run_name=self.run).info.run_id

    def _new_experiment(self) -> str:
        """Make the experiment, its artifacts beside a SQLite file, else where MLflow says; return its id."""
        beside = None if self.spec.uri else (self.root / "mlartifacts" / self.experiment).resolve().as_uri()
        return str(self.client.create_experiment(self.experiment, artifact_location=beside))

    def _known(self) -> Children:
        if self._children is None:
            self._children = Children(self.client, self._experiment, self.run)
        return self._children

    def _log(self, run_id: str, params: Mapping[str, str], points: Sequence[Point]) -> None:
        """Log parameters and points in as few requests as MLflow allows."""
        from mlflow.entities import Metric, Param

        written = [Param(key, value) for key, value in params.items()]
        metrics = [Metric(*point) for point in points]
        for some, more in zip_longest(slices(written, MOST_PARAMS), slices(metrics, MOST_METRICS), fillvalue=()):
            self.client.log_batch(run_id, params=some, metrics=more)
