"""Which rows are for training, validation, test and audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.encodings.table import text_of
from components.prepared import SPLITS
from components.spec_task import Holdout, Split
from nas_core.errors import InputError

Rows = Mapping[str, np.ndarray]
"""The rising row numbers of each split, int64."""


def split_rows(frame: pd.DataFrame, target: np.ndarray, classes: Sequence[str], split: Split, seed: int) -> Rows:
    """Cut the rows of `frame` into the four splits, each with the same share of every class.

    `target` holds the index of each row's class. InputError if a class is not in every split.
    """
    rng = np.random.default_rng(seed)
    shares = {"validation": split.validation, "audit": split.audit}
    if isinstance(split.test, Holdout):
        held = _held_out(frame[split.test.column], split.test)
        rest = np.flatnonzero(~held)
        rows = _stratified(target[rest], shares, rng)
        rows = {name: rest[chosen] for name, chosen in rows.items()} | {"test": np.flatnonzero(held)}
    else:
        rows = _stratified(target, {"test": split.test, **shares}, rng)
    for name in SPLITS:
        counts = np.bincount(target[rows[name]], minlength=len(classes))
        if not counts.all():
            few = classes[int(counts.argmin())]
            raise InputError(
                f"task.target: class {few!r} has {int((target == classes.index(few)).sum())} rows, too few for its "
                f"share of the {name} split to be one row; add rows, drop the class, or change task.split"
            )
    return rows


def _stratified(target: np.ndarray, shares: Mapping[str, float], rng: np.random.Generator) -> dict[str, np.ndarray]:
    names = [*shares, "train"]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for index in np.unique(target):
        rows = rng.permutation(np.flatnonzero(target == index))
        ends = np.rint(np.cumsum(list(shares.values())) * len(rows)).astype(int)
        for name, part in zip(names, np.split(rows, ends), strict=True):
            parts[name].append(part)
    return {name: np.sort(np.concatenate(part)) for name, part in parts.items()}


def _held_out(column: pd.Series[Any], holdout: Holdout) -> np.ndarray:
    texts = column.astype(object).where(column.notna(), None).map(text_of)
    held: np.ndarray = (texts == holdout.value).to_numpy()
    if not held.any():
        found = ", ".join(sorted(map(str, texts.unique()))[:10])
        raise InputError(
            f"task.split.test.value: no row has {holdout.value!r} in {holdout.column!r}, which holds {found}; "
            "give the value of the test rows"
        )
    return held
