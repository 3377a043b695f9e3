"""What the columns of a table are, and whether a classifier can be trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api import types

from components.encoding import FILES, NUMERIC_PORT, Column, text_of
from components.spec_task import TabularTask, TaskSpec
from nas_core.errors import InputError, unknown

MAX_CATEGORIES = 256
MAX_CLASSES = 100


def check_names(frame: pd.DataFrame, task: TaskSpec) -> None:
    """Raise InputError for a column that the task names and `frame` has not."""
    named: dict[str, Sequence[str]] = {"target": [task.target], "sensitive": task.sensitive}
    if isinstance(task, TabularTask):
        named["drop"] = task.drop
    else:
        named["column"] = [task.column]
    if not isinstance(task.split.test, float):
        named["split.test.column"] = [task.split.test.column]
    for key, columns in named.items():
        for column in columns:
            if column not in frame:
                raise unknown(f"task.{key}", column, map(str, frame.columns))
    for key in ("drop", "column", "sensitive", "split.test.column"):
        if task.target in named.get(key, ()):
            raise InputError(f"task.{key}: {task.target!r} is the target and cannot be used so; name another column")


def input_columns(frame: pd.DataFrame, task: TaskSpec) -> tuple[Column, ...]:
    """Return the columns that a model is given, with their kinds; InputError for one that it cannot be given."""
    if not isinstance(task, TabularTask):
        return (Column(task.column, task.kind),)
    dropped = {task.target, *task.drop}
    columns = tuple(Column(name, _kind(frame[name])) for name in map(str, frame.columns) if name not in dropped)
    if not columns:
        raise InputError("task.drop: no column is left for the model; keep at least one besides the target")
    if NUMERIC_PORT in {c.name for c in columns if c.kind == "categorical"} | {task.target}:
        raise InputError(f"column {NUMERIC_PORT!r}: the name is kept for all numeric columns together; rename it")
    return columns


def classes_of(target: pd.Series[Any]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the classes, numbers by value and text by alphabet, and the index of each row's class, int64 (rows,).

    No value is missing. InputError for less than two classes, and for a target that holds no classes but amounts,
    texts or identifiers.
    """
    numeric = types.is_numeric_dtype(target) and not types.is_bool_dtype(target)
    if numeric and (target % 1 != 0).any():
        raise InputError(
            f"task.target: {target.name!r} holds fractions; regression is not supported yet, cut it into classes"
        )
    texts = target.astype(object).map(text_of)
    classes = tuple(sorted(set(texts), key=float if numeric else str))
    if len(classes) > MAX_CLASSES:
        fix = "regression is not supported yet, cut it into classes" if numeric else "group them"
        raise InputError(
            f"task.target: {target.name!r} has {len(classes)} distinct values, "
            f"at most {MAX_CLASSES} can be classes; {fix}"
        )
    if len(classes) < 2:
        raise InputError(f"task.target: {target.name!r} has one class, {classes[0]!r}; at least two are needed")
    return classes, texts.map({name: i for i, name in enumerate(classes)}).to_numpy(np.int64)


def positive_of(named: str | None, classes: Sequence[str], target: np.ndarray) -> int | None:
    """Return the index of the favourable class: the one `named`, else the rarer of two, else None."""
    if named is not None:
        if named not in classes:
            raise unknown("task.positive", named, classes)
        return classes.index(named)
    return int(np.bincount(target).argmin()) if len(classes) == 2 else None


def _kind(column: pd.Series[Any]) -> Literal["numeric", "categorical"]:
    if types.is_bool_dtype(column):
        return "categorical"
    if types.is_numeric_dtype(column) and not types.is_complex_dtype(column):
        return "numeric"
    _check_text(column)
    return "categorical"


def _check_text(column: pd.Series[Any]) -> None:
    known = column.dropna()
    strange = sorted(
        {type(value).__name__ for value in known.astype(object) if not isinstance(value, str | bool | int)}
    )
    if strange:
        fix = f"; files are for task.kind {' or '.join(FILES)}" if strange == ["bytes"] else ""
        raise InputError(
            f"column {column.name!r}: holds {', '.join(strange)}, neither numbers nor text; "
            f"convert it, or add it to task.drop{fix}"
        )
    distinct = known.nunique()
    if distinct > min(MAX_CATEGORIES, max(2, len(column) // 2)):
        raise InputError(
            f"column {column.name!r}: {distinct} distinct values in {len(column)} rows are too many for a category; "
            f"group them to at most {MAX_CATEGORIES}, or add the column to task.drop"
        )
