"""What a spec can be checked for before a run begins: the options of its parts and the columns of its data.

Options are checked twice: their names and types by the factory's signature, and their ranges by the factory itself,
which is called with a stand-in for the data. It loads torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components import parts, sources
from components.encoding import Media
from components.encodings.audio import Audio
from components.encodings.image import Image
from components.encodings.items import ItemError
from components.encodings.table import text_of
from components.encodings.text import Text
from components.spec import Part, Spec
from components.spec_errors import Problem, not_among
from components.spec_task import AudioTask, Holdout, ImageTask, MediaTask, TabularTask, TaskSpec, TextTask
from components.yaml_lines import Location
from nas_core import registry
from nas_core.errors import InputError
from nas_core.interfaces import Cost, Task
from nas_core.registry import Group
from nas_core.types import Port, Signature

_ROWS = 64
_PIXELS = 32


def failed_checks(spec: Spec, base: Path) -> Iterator[Problem]:
    """Yield what is wrong with `spec` on this machine; relative paths start from `base`."""
    try:
        table: pd.DataFrame | None = sources.read(spec.task.source, base)
    except InputError as error:
        table = None
        yield Problem.of(error, ("task",))
    yield from list(_options(spec)) or _ranges(parts.grounded(spec, base), table)
    if table is not None:
        yield from _columns(spec.task, table)
        yield from _uses(spec, table)
    try:
        if spec.drift.source is not None:
            sources.read(spec.drift.source, base)
    except InputError as error:
        yield Problem.of(error, ("drift",))


def _columns(task: TaskSpec, table: pd.DataFrame) -> Iterator[Problem]:
    named: list[tuple[Location, str]] = [(("task", "target"), task.target)]
    if isinstance(task, TabularTask):
        named += [(("task", "drop", i), column) for i, column in enumerate(task.drop)]
    else:
        named.append((("task", "column"), task.column))
    named += [(("task", "sensitive", i), column) for i, column in enumerate(task.sensitive)]
    values: list[tuple[Location, str, str]] = []
    if task.positive is not None:
        values.append((("task", "positive"), task.target, task.positive))
    if isinstance(test := task.split.test, Holdout):
        named.append((("task", "split", "test", "column"), test.column))
        values.append((("task", "split", "test", "value"), test.column, test.value))
    for location, column in named:
        if column not in table:
            yield Problem(location, not_among(column, table.columns))
    if not isinstance(task, TabularTask) and task.column in table:
        yield from _unreadable(task, table)
    for location, column, value in values:
        known = {str(text_of(v)) for v in table[column].dropna().unique()} if column in table else {value}
        if value not in known:
            yield Problem(location, not_among(value, known))


def _unreadable(task: MediaTask, table: pd.DataFrame) -> Iterator[Problem]:
    value = _first(task, table)
    try:
        _media(task, value).encode([value])
    except ItemError as error:
        yield Problem(("task", "column"), f"the first value of {task.column!r}: {error.reason}")


def _uses(spec: Spec, table: pd.DataFrame) -> Iterator[Problem]:
    """Yield what the spec wants to do with columns and classes that are not made for it."""
    for i, bins in enumerate(spec.fairness.bins):
        if bins.column in table and not pd.api.types.is_numeric_dtype(table[bins.column]):
            fix = "its values are the groups; remove its bins"
            yield Problem(("fairness", "bins", i, "column"), f"{bins.column!r} is not numeric, {fix}")
    yield from _rates(spec)
    classes = table[spec.task.target].nunique() if spec.task.target in table else 2
    if classes == 2:
        return
    for i, objective in enumerate(spec.search.objectives):
        if objective.metric == "auroc" and spec.search.estimator.kind == "training":
            fix = "choose accuracy, balanced_accuracy or log_loss"
            yield Problem(("search", "objectives", i, "metric"), f"auroc needs two classes, got {classes}; {fix}")
    if spec.fairness.metric != "accuracy" and spec.task.sensitive and spec.task.positive is None:
        rule = f"{spec.fairness.metric} needs a favourable class, and of {classes} classes none is named"
        yield Problem(("fairness", "metric"), f"{rule}; set task.positive, or the metric to accuracy")


def _rates(spec: Spec) -> Iterator[Problem]:
    """Yield that the space's filters are for another rate than the clips have, where it has such an option."""
    if not isinstance(spec.task, AudioTask) or spec.search.space.kind not in registry.targets("spaces"):
        return
    options = {o.name: o.default for o in registry.options(registry.load("spaces", spec.search.space.kind))}
    rate = {**options, **spec.search.space.options}.get("sample_rate", spec.task.sample_rate)
    if rate != spec.task.sample_rate:
        rule = f"the space is for {rate} samples a second, the task has {spec.task.sample_rate}; set both to one value"
        yield Problem(("search", "space"), rule)


def _options(spec: Spec) -> Iterator[Problem]:
    for location, group, part in parts.located_parts(spec):
        yield from _option_problems(location, group, part)
    yield from _changed(("retrain", "space"), "spaces", spec.search.space, spec.retrain.space)
    if spec.retrain.estimator is not None:
        yield from _option_problems(("retrain", "estimator"), "estimators", spec.retrain.estimator)
    yield from _changed(("retrain", "options"), "estimators", spec.search.estimator, spec.retrain.options)


def _changed(at: Location, group: Group, part: Part, overrides: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with the options in `overrides`, which change those of `part`."""
    for problem in _option_problems(at, group, parts.overridden(part, overrides)):
        if overrides.keys() & set(problem.location[len(at) :]):
            yield problem


def _option_problems(at: Location, group: Group, part: Part) -> Iterator[Problem]:
    try:
        _, problems = parts.typed_options(group, part)
    except InputError as error:
        problems = [Problem.of(error)]
    for problem in problems:
        yield Problem(at + problem.location, problem.message)


def _ranges(spec: Spec, table: pd.DataFrame | None) -> Iterator[Problem]:
    try:
        signature, task = _stand_in(spec, table)
        space = parts.build_space(spec, signature)
    except InputError as error:
        yield Problem.of(error)
        return
    for build in (lambda: parts.build_strategy(spec, space), lambda: parts.build_stopper(spec)):
        try:
            build()
        except InputError as error:
            yield Problem.of(error)
    try:
        if spec.search.supernet is not None:
            parts.build_supernet(spec, space, task)
        parts.build_estimator(spec, space, task)
        yield from _costs(parts.build_costs(spec, space, task))
        parts.build_trainer(spec, parts.build_final_space(spec, signature), task, spec.seed)
    except InputError as error:
        yield Problem.of(error)


def _costs(costs: Sequence[Cost]) -> Iterator[Problem]:
    """Yield the metrics that two costs give."""
    given = [(name, i) for i, cost in enumerate(costs) for name in cost.metrics]
    for place, (name, i) in enumerate(given):
        if first := next((j for other, j in given[:place] if other == name), None):
            fix = "remove one, or call it otherwise"
            yield Problem(("search", "costs", i), f"{name} is measured by search.costs[{first}] too; {fix}")


def _stand_in(spec: Spec, table: pd.DataFrame | None) -> tuple[Signature, Task]:
    """Return few rows of what the task's data will look like, as a task of the spec's kind."""
    target = Port(name=spec.task.target, shape=(2,), classes=2)
    signature = Signature(inputs=_ports(spec.task, table), outputs=(target,))
    classes = np.arange(_ROWS, dtype=np.int64) % 2
    rows = (tuple(np.zeros((_ROWS, *port.shape), port.dtype) for port in signature.inputs), classes)
    task: Task = registry.load("tasks", spec.task.kind)(signature, {"train": rows, "validation": rows})
    return signature, task


def _ports(task: TaskSpec, table: pd.DataFrame | None) -> tuple[Port, ...]:
    if isinstance(task, TabularTask):
        return Port(name="numeric", shape=(4,)), Port(name="category", shape=(), dtype="int64", classes=3)
    return (_media(task, _first(task, table)).port,)


def _media(task: MediaTask, value: Any) -> Media:
    """Return the encoding of `task`, as far as one value tells it."""
    match task:
        case TextTask():
            return Text(task.column, task.length, ("word",) * task.vocabulary, 0)
        case AudioTask():
            return Audio(task.column, task.sample_rate, round(task.sample_rate * task.seconds))
        case ImageTask():
            with contextlib.suppress(InputError):
                return Image.fit(task.column, [value], size=task.size, channels=task.channels)
            size, figures = task.size or _PIXELS, (1.0,) * (task.channels or 3)
            return Image(task.column, size, size, figures, figures)


def _first(task: MediaTask, table: pd.DataFrame | None) -> Any:
    """Return the first value of the column that the model is given, None if there is none."""
    if table is None or task.column not in table:
        return None
    return next(iter(table[task.column].dropna()), None)
