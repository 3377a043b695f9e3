from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.encoding import Column
from components.encodings.text import Text
from components.profile import CategoricalProfile, NumericProfile, Profile
from nas_core.errors import InputError

COLUMNS = (Column("age", "numeric"), Column("job", "categorical"))


def test_values_counts_and_missing_rows() -> None:
    frame = pd.DataFrame({"age": [3.0, np.nan, 1.0, np.inf], "job": ["b", None, "a", "b"]})
    assert Profile.of(frame, COLUMNS) == Profile(
        rows=4,
        numeric={"age": NumericProfile((1.0, 3.0), 2)},
        categorical={"job": CategoricalProfile({"a": 1, "b": 2}, 1)},
    )


def test_many_values_are_thinned_out_evenly() -> None:
    frame = pd.DataFrame({"age": np.random.default_rng(0).permutation(100_001)})
    values = Profile.of(frame, COLUMNS[:1]).numeric["age"].values
    assert len(values) == 5000
    assert np.abs(np.array(values) - np.linspace(0, 100_000, 5000)).max() <= 0.5


def test_json_and_back_is_the_same_profile(tmp_path: Path) -> None:
    profile = Profile.of(pd.DataFrame({"age": [0.1, None], "job": [True, False]}), COLUMNS)
    (tmp_path / "profile.json").write_text(json.dumps(profile.to_json()), encoding="utf-8")
    assert Profile.load(tmp_path / "profile.json") == profile
    assert profile.columns == COLUMNS


def test_texts_are_profiled_by_figures_of_each(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["one two", "one", None]})
    text = Text.fit("text", frame["text"].tolist())
    profile = Profile.of(frame, [Column("text", "text")], [text], fitted=True)
    assert profile.numeric["text.words"] == NumericProfile((0.0, 1.0, 2.0), 0)
    assert profile.numeric["text.unknown"] == NumericProfile((0.0, 0.5), 1)
    assert Profile.of(frame, [Column("text", "text")], [text]).numeric["text.unknown"].values == (0.0, 0.0)
    assert profile.columns == (Column("text", "text"),)
    (tmp_path / "profile.json").write_text(json.dumps(profile.to_json()), encoding="utf-8")
    assert Profile.load(tmp_path / "profile.json") == profile


def test_a_profile_that_is_not_there_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run data preparation first"):
        Profile.load(tmp_path / "profile.json")
