"""What a spec can be checked for before a run begins: the options of its parts and the columns of its data.

Options are checked twice: their names and types by the factory's signature, and their ranges by the factory itself,
which is called with a stand-in for the data. It loads torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components import parts, sources
from components.encoding import text_of
from components.spec import Holdout, Part, Spec, TaskSpec
from components.spec_errors import Problem, not_among
from components.yaml_lines import Location
from nas_core import registry
from nas_core.errors import InputError
from nas_core.interfaces import Task
from nas_core.registry import Group
from nas_core.types import Port, Signature

_ROWS = 64


def failed_checks(spec: Spec, base: Path) -> Iterator[Problem]:
    """Yield what is wrong with `spec` on this machine; relative paths start from `base`."""
    yield from list(_options(spec)) or _ranges(spec)
    yield from _data(spec, base)


def _data(spec: Spec, base: Path) -> Iterator[Problem]:
    try:
        table = sources.read(spec.task.source, base)
        yield from _columns(spec.task, table)
        yield from _uses(spec, table)
    except InputError as error:
        yield Problem.of(error, ("task",))
    try:
        if spec.drift.source is not None:
            sources.read(spec.drift.source, base)
    except InputError as error:
        yield Problem.of(error, ("drift",))


def _columns(task: TaskSpec, table: pd.DataFrame) -> Iterator[Problem]:
    named: list[tuple[Location, str]] = [(("task", "target"), task.target)]
    for key, columns in (("drop", task.drop), ("sensitive", task.sensitive)):
        named += [(("task", key, i), column) for i, column in enumerate(columns)]
    values: list[tuple[Location, str, str]] = []
    if task.positive is not None:
        values.append((("task", "positive"), task.target, task.positive))
    if isinstance(test := task.split.test, Holdout):
        named.append((("task", "split", "test", "column"), test.column))
        values.append((("task", "split", "test", "value"), test.column, test.value))
    for location, column in named:
        if column not in table:
            yield Problem(location, not_among(column, table.columns))
    for location, column, value in values:
        known = {str(text_of(v)) for v in table[column].dropna().unique()} if column in table else {value}
        if value not in known:
            yield Problem(location, not_among(value, known))


def _uses(spec: Spec, table: pd.DataFrame) -> Iterator[Problem]:
    """Yield what the spec wants to do with columns and classes that are not made for it."""
    for i, bins in enumerate(spec.fairness.bins):
        if bins.column in table and not pd.api.types.is_numeric_dtype(table[bins.column]):
            fix = "its values are the groups; remove its bins"
            yield Problem(("fairness", "bins", i, "column"), f"{bins.column!r} is not numeric, {fix}")
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


def _options(spec: Spec) -> Iterator[Problem]:
    for key, group in parts.GROUPS.items():
        yield from _option_problems(("search", key), group, getattr(spec.search, key))
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


def _ranges(spec: Spec) -> Iterator[Problem]:
    try:
        signature, task = _stand_in(spec)
        space = parts.build_space(spec, signature)
    except InputError as error:
        yield Problem.of(error)
        return
    try:
        parts.build_strategy(spec, space)
    except InputError as error:
        yield Problem.of(error)
    try:
        parts.build_estimator(spec, space, task)
        parts.build_trainer(spec, parts.build_final_space(spec, signature), task, spec.seed)
    except InputError as error:
        yield Problem.of(error)


def _stand_in(spec: Spec) -> tuple[Signature, Task]:
    """Return a table of few rows with all kinds of columns, as a task of the spec's kind."""
    target = Port(name=spec.task.target, shape=(2,), classes=2)
    inputs = (Port(name="numeric", shape=(4,)), Port(name="category", shape=(), dtype="int64", classes=3))
    signature = Signature(inputs=inputs, outputs=(target,))
    classes = np.arange(_ROWS, dtype=np.int64) % 2
    rows = ((np.zeros((_ROWS, 4), np.float32), classes), classes)
    task: Task = registry.load("tasks", spec.task.kind)(signature, {"train": rows, "validation": rows})
    return signature, task
