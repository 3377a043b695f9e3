"""The stage that asks whether data still looks as it did when the model was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from components.drift.compare import Difference, differences, holm
from components.encodings.items import naming_rows
from components.profile import Profile
from components.spec import DriftSpec
from nas_core.errors import InputError

MOST_ROWS = 50_000


def check(config: DriftSpec, profile: Path, current: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Compare the rows of `current` with the training rows that the file `profile` describes.

    The verdict is `drift` if a model input differs significantly after Holm's correction over all tests and by at
    least the smallest effect that counts; `insufficient data` if there are fewer than `config.min_rows` rows; else
    `no drift`. Images, texts and clips are compared by plain figures of each, such as their brightness. The result has
    all tests by rising adjusted p, and the drifted columns. Of more than 50,000 rows a sample drawn with `seed` is
    looked at. InputError for columns that are not there or have another kind.
    """
    reference = Profile.load(profile)
    absent = [c.name for c in reference.columns if c.name not in current]
    if absent:
        raise InputError(
            f"drift.source: no column {', '.join(absent)}, which the model needs; give data with all of its inputs"
        )
    result = {"rows": len(current), "reference_rows": reference.rows, "columns": [], "drifted": []}
    if len(current) < config.min_rows:
        return {"verdict": "insufficient data", **result}
    sample = current.sample(MOST_ROWS, random_state=seed) if len(current) > MOST_ROWS else current
    with naming_rows(sample):
        window = Profile.of(sample, reference.columns, reference.media, most_values=MOST_ROWS)
    found = differences(reference, window)
    rows = [_row(config, d, p) for d, p in zip(found, holm([d.p for d in found]), strict=True)]
    rows.sort(key=lambda row: (row["p_adjusted"], -row["effect"], row["column"]))
    drifted = list(dict.fromkeys(row["column"] for row in rows if row["drifted"]))
    return {"verdict": "drift" if drifted else "no drift", **result, "columns": rows, "drifted": drifted}


def _row(config: DriftSpec, difference: Difference, adjusted: float) -> dict[str, Any]:
    return {
        **difference._asdict(),
        "p_adjusted": adjusted,
        "drifted": adjusted < config.alpha and difference.effect >= config.min_effect,
    }
