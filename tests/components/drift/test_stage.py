from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.drift.stage import MOST_ROWS, check
from components.encoding import Column
from components.profile import Profile
from components.sources import read
from components.spec import BuiltinSource, DriftSpec, NpzSource
from nas_core.errors import InputError

ANY_EFFECT = DriftSpec(min_effect=1e-9)


@pytest.fixture(scope="module")
def adult() -> pd.DataFrame:
    return read(BuiltinSource(kind="builtin", name="adult"), Path()).drop(columns=["income", "split"])


def stored(frame: pd.DataFrame, folder: Path) -> Path:
    kinds = {True: "numeric", False: "categorical"}
    columns = [Column(name, kinds[pd.api.types.is_numeric_dtype(frame[name])]) for name in frame]
    path = folder / "profile.json"
    path.write_text(json.dumps(Profile.of(frame, columns).to_json()), encoding="utf-8")
    return path


def test_data_that_did_not_change_raises_an_alarm_as_often_as_alpha_allows(adult: pd.DataFrame, tmp_path: Path) -> None:
    # 80 windows, alpha .05 each: more than 10 alarms come with probability .0021
    profile = stored(adult.iloc[:20_000], tmp_path)
    windows = (adult.iloc[20_000:].sample(500, random_state=i) for i in range(80))
    alarms = sum(check(ANY_EFFECT, profile, window, 0)["verdict"] == "drift" for window in windows)
    assert alarms <= 10


def test_one_shifted_column_of_thirty_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"x{i}" for i in range(30)]
    profile = stored(pd.DataFrame(rng.normal(size=(2000, 30)), columns=names), tmp_path)
    window = pd.DataFrame(rng.normal(size=(500, 30)), columns=names)
    window["x17"] += 0.5
    result = check(DriftSpec(), profile, window, 0)
    assert (result["verdict"], result["drifted"]) == ("drift", ["x17"])
    assert result["columns"][0]["column"] == "x17"


def test_another_mix_of_categories_is_found(adult: pd.DataFrame, tmp_path: Path) -> None:
    profile = stored(adult.iloc[:20_000], tmp_path)
    result = check(DriftSpec(), profile, adult.iloc[20_000:].query("sex == 'Female'").iloc[:1000], 0)
    assert {"sex", "relationship", "marital-status"} <= set(result["drifted"])


def test_the_electricity_market_drifts_from_its_first_weeks_to_its_last(data: Path, tmp_path: Path) -> None:
    frame = read(NpzSource(kind="npz", path=str(data / "elec2.npz")), Path()).drop(columns=["date", "nswprice", "y"])
    weeks = 4 * 7 * 48
    profile = stored(frame.iloc[:weeks], tmp_path)
    result = check(DriftSpec(), profile, frame.iloc[-weeks:], 0)
    assert result["verdict"] == "drift"
    assert {"vicprice", "vicdemand", "transfer"} <= set(result["drifted"])
    assert not {"day", "period"} & set(result["drifted"])  # the calendar does not


def test_a_tiny_shift_is_no_drift_however_sure_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    profile = stored(pd.DataFrame({"x": rng.normal(size=100_000)}), tmp_path)
    result = check(DriftSpec(), profile, pd.DataFrame({"x": rng.normal(size=100_000) + 0.1}), 0)
    assert result["columns"][0]["p_adjusted"] < 0.001
    assert result["verdict"] == "no drift"


def test_too_few_rows_are_no_ground_for_a_verdict(adult: pd.DataFrame, tmp_path: Path) -> None:
    profile = stored(adult.iloc[:1000], tmp_path)
    config = DriftSpec(min_rows=50)
    assert check(config, profile, adult.iloc[1000:1049], 0)["verdict"] == "insufficient data"
    assert check(config, profile, adult.iloc[1000:1050], 0)["verdict"] == "no drift"


def test_columns_are_sorted_by_adjusted_p(adult: pd.DataFrame, tmp_path: Path) -> None:
    columns = check(DriftSpec(), stored(adult.iloc[:5000], tmp_path), adult.iloc[5000:6000], 0)["columns"]
    adjusted = [row["p_adjusted"] for row in columns]
    assert adjusted == sorted(adjusted)
    assert {row["column"] for row in columns} == set(adult.columns)


def test_of_a_huge_window_the_same_sample_is_looked_at_for_the_same_seed(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=MOST_ROWS * 3)})
    profile = stored(frame, tmp_path)
    one, same, other = (check(DriftSpec(), profile, frame, seed) for seed in (0, 0, 1))
    assert one == same != other
    assert one["rows"] == MOST_ROWS * 3


def test_other_columns_are_ignored_and_absent_ones_named(adult: pd.DataFrame, tmp_path: Path) -> None:
    profile = stored(adult.iloc[:1000], tmp_path)
    window = adult.iloc[1000:2000]
    assert check(DriftSpec(), profile, window.assign(extra=1), 0) == check(DriftSpec(), profile, window, 0)
    with pytest.raises(InputError, match=r"drift.source: no column age, sex"):
        check(DriftSpec(), profile, window.drop(columns=["sex", "age"]), 0)


def test_text_in_a_numeric_column_is_named(adult: pd.DataFrame, tmp_path: Path) -> None:
    profile = stored(adult.iloc[:1000], tmp_path)
    with pytest.raises(InputError, match="column 'age': expected one number a row"):
        check(DriftSpec(), profile, adult.iloc[:1000].assign(age="old"), 0)
