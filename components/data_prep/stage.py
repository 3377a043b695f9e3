"""The stage that turns the source into what all later stages work on: typed, split and encoded rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components import prepared, sources
from components.data_prep.schema import check_names, classes_of, input_columns, positive_of
from components.data_prep.splits import split_rows
from components.encoding import Encoder
from components.prepared import SPLITS, Prepared
from components.profile import Profile
from components.spec import Holdout, TaskSpec
from nas_core.errors import InputError


def prepare(task: TaskSpec, seed: int, base: Path, out: Path) -> dict[str, Any]:
    """Read the task's source, check it, split it, fit encoder and profile on the training rows, and write it to `out`.

    Rows without a target are left out, and counted in the result, which also holds rows per split, columns with their
    missing rows, classes with their shares, and digests of source and outcome. Relative paths start at `base`. An
    InputError names the column, value or key that does not fit; nothing is written then.
    """
    table = sources.read(task.source, base)
    check_names(table, task)
    frame = table[table[task.target].notna()].reset_index(drop=True)
    if frame.empty:
        raise InputError(
            f"task.target: {task.target!r} is missing in every row; name the column that holds the classes"
        )
    classes, target = classes_of(frame[task.target])
    positive = positive_of(task.positive, classes, target)
    rows = split_rows(frame, target, classes, task.split, seed)
    frame = _without_holdout(frame, task)
    columns = input_columns(frame, task)
    kept = [name for name in frame if name in {c.name for c in columns} | {*task.sensitive, task.target}]
    frames = {split: frame.loc[rows[split], kept] for split in SPLITS}

    encoder = Encoder.fit(frames["train"], columns)
    whole = prepared.write(
        Prepared(out, task.target, classes, positive, task.sensitive, encoder),
        {split: (encoder.encode(frames[split]), target[rows[split]]) for split in SPLITS},
        frames,
        Profile.of(frames["train"], columns).to_json(),
    )
    shares = np.bincount(target) / len(target)
    return {
        "rows": {split: len(rows[split]) for split in SPLITS},
        "rows_without_target": len(table) - len(frame),
        "columns": [{"name": c.name, "kind": c.kind, "missing": int(frame[c.name].isna().sum())} for c in columns],
        "target": task.target,
        "classes": {name: float(share) for name, share in zip(classes, shares, strict=True)},
        "positive": None if positive is None else classes[positive],
        "sensitive": list(task.sensitive),
        "source": sources.fingerprint(table),
        "digest": whole.digest,
    }


def _without_holdout(frame: pd.DataFrame, task: TaskSpec) -> pd.DataFrame:
    if not isinstance(task.split.test, Holdout):
        return frame
    column = task.split.test.column
    if column in task.sensitive:
        raise InputError(f"task.sensitive: {column!r} marks the test rows and is no attribute; name another column")
    return frame.drop(columns=column)
