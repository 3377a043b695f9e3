"""What one run of MLflow shows beside what it should show: every value that was edited, deleted or added."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from components.backends.mlflow_records import NAME, Point, Record

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

What = Literal["metric", "param", "tag", "artifact", "input", "output", "run", "status", "time"]
Value = str | float | None


@dataclass(frozen=True)
class Difference:
    """One value in which MLflow and the ledger differ; None stands for a value that is not there.

    `where` is the name of the run, such as `trial-12`, or `cycle` for that of the whole cycle. `behind` tells that it
    is no edit: MLflow was not told yet.
    """

    where: str
    what: What
    name: str
    expected: Value
    found: Value
    behind: bool = False

    @property
    def kind(self) -> Literal["edited", "deleted", "added", "behind"]:
        """What must have happened in MLflow."""
        if self.behind:
            return "behind"
        if self.found is None:
            return "deleted"
        return "added" if self.expected is None else "edited"

    def __str__(self) -> str:
        subject = f"{self.where}: {self.what} {self.name}"
        if self.behind:
            return f"{subject} is not there yet"
        if self.found is None:
            return f"{subject} was deleted; recorded is {self.expected}"
        if self.expected is None:
            return f"{subject} was added, {self.found}; the record knows of none"
        return f"{subject} was edited to {self.found}; recorded is {self.expected}"


def differ(where: str, expected: Record, run: Any, client: MlflowClient) -> Iterator[Difference]:
    """Yield what sets the child `run` apart from what is `expected` of it; nothing else may be in it."""
    yield from named(where, expected.name, run)
    yield from values(where, "tag", {**expected.tags, NAME: expected.name}, run.data.tags)
    yield from values(where, "param", expected.params, run.data.params)
    if run.info.status != expected.status:
        yield Difference(where, "status", "status", expected.status, run.info.status)
    times = {"start": (expected.start, run.info.start_time), "end": (expected.end, run.info.end_time)}
    for name, (wanted, found) in times.items():
        if found != wanted:
            yield Difference(where, "time", name, wanted, found)
    yield from points(where, expected.points, history(run, client))
    yield from values(where, "input", {}, inputs(run))
    yield from outputs(where, run)
    for path in artifact_paths(run, client):
        yield Difference(where, "artifact", path, None, "a file")


def named(where: str, name: str, run: Any) -> Iterator[Difference]:
    """Yield that the name of `run` is another, where its tag does not say so as well."""
    if run.info.run_name != name and run.data.tags.get(NAME) != run.info.run_name:
        yield Difference(where, "run", "name", name, run.info.run_name)


def values(where: str, what: What, expected: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Difference]:
    """Yield the names under which `expected` and `found` have not the same."""
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            yield Difference(where, what, name, expected.get(name), found.get(name))


def history(run: Any, client: MlflowClient) -> list[Point]:
    """Return every point of every metric of `run`."""
    return [
        (point.key, point.value, point.timestamp, point.step)
        for metric in sorted(run.data.metrics)
        for point in client.get_metric_history(run.info.run_id, metric)
    ]


def points(
    where: str, expected: Iterable[Point], found: Iterable[Point], allowed: Iterable[Point] = ()
) -> Iterator[Difference]:
    """Yield the steps of metrics at which other points were logged; those that are `allowed` may be there or not."""
    wanted, there, known = _by_step(expected), _by_step(found), _by_step(allowed)
    for metric, step in sorted({*wanted, *there}):
        missing = sorted(wanted[metric, step] - there[metric, step])
        beyond = sorted(there[metric, step] - wanted[metric, step] - known[metric, step])
        name = f"{metric} at step {step}"
        for value, at in beyond:
            recorded = next((v for v, _ in sorted(wanted[metric, step])), None)
            if recorded == value:
                yield Difference(where, "time", name, min(t for _, t in wanted[metric, step]), at)
            else:
                yield Difference(where, "metric", name, recorded, value)
        if not beyond:
            for value, _ in missing:
                yield Difference(where, "metric", name, value, None)


def _by_step(some: Iterable[Point]) -> defaultdict[tuple[str, int], set[tuple[float, int]]]:
    found: defaultdict[tuple[str, int], set[tuple[float, int]]] = defaultdict(set)
    for metric, value, at, step in some:
        found[metric, step].add((value, at))
    return found


def inputs(run: Any) -> dict[str, str]:
    """Return what went into `run`: data sets, by name and digest, and models."""
    there = run.inputs
    data = [f"data {each.dataset.name} {each.dataset.digest}" for each in (there.dataset_inputs if there else [])]
    models = [f"model {each.model_id}" for each in getattr(there, "model_inputs", None) or []]
    return dict.fromkeys([*data, *models], "logged")


def outputs(where: str, run: Any) -> Iterator[Difference]:
    """Yield the models that came out of `run`; the mirror logs none."""
    for each in (run.outputs.model_outputs if run.outputs else None) or []:
        yield Difference(where, "output", f"model {each.model_id}", None, "logged")


def artifact_paths(run: Any, client: MlflowClient, folder: str | None = None) -> Iterator[str]:
    """Yield the paths of all files of `run`."""
    for file in client.list_artifacts(run.info.run_id, folder):
        if file.is_dir:
            yield from artifact_paths(run, client, file.path)
        else:
            yield str(file.path)


def artifacts(
    run: Any, client: MlflowClient, expected: Mapping[str, str], told: Callable[[str], None] = lambda _: None
) -> Iterator[Difference]:
    """Yield the files of the cycle's `run` whose SHA-256 is not that in `expected`, one at a time on this disk."""
    there = list(artifact_paths(run, client))
    for path in sorted({*expected, *there}):
        told(path)
        found = None
        if path in there:
            with TemporaryDirectory(prefix="evernas-") as folder:
                local = Path(client.download_artifacts(run.info.run_id, path, folder))
                with local.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected.get(path):
            yield Difference("cycle", "artifact", path, expected.get(path), found)
