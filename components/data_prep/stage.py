"""The stage that turns the source into what all later stages work on: typed, split and encoded rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components import prepared, sources
from components.data_prep.schema import check_names, classes_of, input_columns, positive_of
from components.data_prep.splits import split_rows
from components.encoding import Column, Encoder, Media, raw_columns
from components.encodings.audio import Audio
from components.encodings.image import Image
from components.encodings.items import naming_rows
from components.encodings.text import Text
from components.prepared import SPLITS, Prepared
from components.profile import Profile
from components.spec_task import AudioTask, Holdout, ImageTask, TabularTask, TaskSpec, TextTask
from nas_core.errors import InputError


def prepare(task: TaskSpec, seed: int, base: Path, out: Path) -> dict[str, Any]:
    """Read the task's source, check it, split it, fit encoder and profile on the training rows, and write it to `out`.

    Rows without a target are left out, and counted in the result, which also holds rows per split, columns with their
    missing rows, classes with their shares, and digests of source and outcome. Relative paths start at `base`. An
    InputError names the column, value or key that does not fit, and the row, counted from 0, whose image, text or clip
    does not read; nothing is written then.
    """
    table = sources.read(task.source, base)
    check_names(table, task)
    frame = table[table[task.target].notna()]
    if frame.empty:
        raise InputError(
            f"task.target: {task.target!r} is missing in every row; name the column that holds the classes"
        )
    classes, target = classes_of(frame[task.target])
    positive = positive_of(task.positive, classes, target)
    rows = split_rows(frame, target, classes, task.split, seed)
    frame = _without_holdout(frame, task)
    columns = input_columns(frame, task)
    frames = {split: frame.iloc[rows[split]] for split in SPLITS}
    with naming_rows(frames["train"]):
        encoder = _fit(task, frames["train"], columns)
        profile = Profile.of(frames["train"], columns, encoder.media, fitted=True)
    arrays = {}
    for split in SPLITS:
        with naming_rows(frames[split]):
            arrays[split] = (encoder.encode(frames[split]), target[rows[split]])
    kept = [name for name in frame if name in {c.name for c in columns} | {*task.sensitive, task.target}]
    whole = prepared.write(
        Prepared(out, task.target, classes, positive, task.sensitive, encoder, kind=task.kind),
        arrays,
        {split: frames[split][kept] for split in SPLITS},
        profile.to_json(),
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


def _fit(task: TaskSpec, frame: pd.DataFrame, columns: Sequence[Column]) -> Encoder:
    """Return the encoder of the training rows in `frame` as the task wants it."""
    if isinstance(task, TabularTask):
        return Encoder.fit(frame, columns)
    values = raw_columns(frame, columns)[task.column]
    match task:
        case ImageTask():
            made: Media = Image.fit(task.column, values, size=task.size, channels=task.channels)
        case TextTask():
            made = Text.fit(task.column, values, vocabulary=task.vocabulary, length=task.length)
        case AudioTask():
            made = Audio.fit(task.column, values, sample_rate=task.sample_rate, seconds=task.seconds)
    return Encoder((), (), (made,))


def _without_holdout(frame: pd.DataFrame, task: TaskSpec) -> pd.DataFrame:
    if not isinstance(task.split.test, Holdout):
        return frame
    column = task.split.test.column
    if column in task.sensitive:
        raise InputError(f"task.sensitive: {column!r} marks the test rows and is no attribute; name another column")
    return frame.drop(columns=column)
