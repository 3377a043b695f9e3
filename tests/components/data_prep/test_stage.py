from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.data_prep.stage import prepare
from components.encoding import Encoder
from components.prepared import SPLITS, Prepared
from components.profile import Profile
from components.spec import TabularTask
from nas_core.errors import InputError

ADULT = {
    "source": {"kind": "builtin", "name": "adult"},
    "target": "income",
    "drop": ("fnlwgt", "race"),
    "sensitive": ("sex", "race"),
    "split": {"test": {"column": "split", "value": "test"}},
}
TABLE = {"source": {"kind": "parquet", "path": "table.parquet"}, "target": "label"}


def task(**values: Any) -> TabularTask:
    return TabularTask(kind="tabular", **values)


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": rng.normal(size=200),
            "colour": rng.choice(["red", "green", "blue"], 200),
            "group": rng.choice(["a", "b"], 200),
            "label": ["yes" if i % 4 else "no" for i in range(200)],
        }
    )


def prepared(table: pd.DataFrame, folder: Path, seed: int = 0, **values: Any) -> tuple[dict[str, Any], Prepared]:
    folder.mkdir(exist_ok=True)
    table.to_parquet(folder / "table.parquet")
    result = prepare(task(**{**TABLE, **values}), seed, folder, folder / "out")
    return result, Prepared.load(folder / "out")


@pytest.fixture(scope="module")
def adult(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Prepared]:
    out = tmp_path_factory.mktemp("adult")
    return prepare(task(**ADULT), 0, Path(), out), Prepared.load(out)


def test_adult_keeps_its_own_test_rows_and_divides_the_others(adult: tuple[dict[str, Any], Prepared]) -> None:
    assert adult[0]["rows"] == {"train": 22793, "validation": 4884, "test": 16281, "audit": 4884}


def test_arrays_and_frames_of_a_split_are_the_same_rows(adult: tuple[dict[str, Any], Prepared]) -> None:
    whole = adult[1]
    for split in SPLITS:
        frame = whole.frame(split)
        inputs, target = whole.arrays(split)
        for got, expected in zip(inputs, whole.encoder.encode(frame), strict=True):
            np.testing.assert_array_equal(got, expected)
        assert [whole.classes[i] for i in target] == frame["income"].tolist()


def test_dropped_columns_are_no_inputs_and_sensitive_ones_stay_in_the_frame(
    adult: tuple[dict[str, Any], Prepared],
) -> None:
    inputs = {column.name for column in adult[1].encoder.columns}
    assert inputs.isdisjoint({"fnlwgt", "race", "split", "income"})
    assert "sex" in inputs
    assert {*adult[1].frame("audit").columns} == {*inputs, "race", "income"}


def test_the_favourable_class_is_the_rarer_of_two(adult: tuple[dict[str, Any], Prepared]) -> None:
    assert (adult[0]["positive"], adult[1].positive) == (">50K", 1)


def test_a_column_of_true_and_false_is_categorical(table: pd.DataFrame, tmp_path: Path) -> None:
    _, whole = prepared(table.assign(own=[True, False] * 100), tmp_path)
    assert {c.name: c.kind for c in whole.encoder.columns}["own"] == "categorical"
    assert whole.signature.inputs[-1].classes == 3


def test_classes_have_the_same_share_in_every_split(table: pd.DataFrame, tmp_path: Path) -> None:
    _, whole = prepared(table, tmp_path)
    for split in SPLITS:
        assert np.mean(whole.arrays(split)[1] == 0) == pytest.approx(0.25, abs=0.02)


def test_every_row_is_in_one_split(table: pd.DataFrame, tmp_path: Path) -> None:
    _, whole = prepared(table.assign(row=[f"{i}." for i in range(200)]), tmp_path, drop=("row",), sensitive=("row",))
    rows = pd.concat([whole.frame(split)["row"] for split in SPLITS])
    assert sorted(rows) == sorted(f"{i}." for i in range(200))


def test_only_training_rows_shape_encoder_and_profile(table: pd.DataFrame, tmp_path: Path) -> None:
    result, whole = prepared(table, tmp_path / "before")
    seen = set(whole.frame("train")["size"])
    others = ~table["size"].isin(seen)
    changed = table.assign(
        size=table["size"].where(~others, 1e6), colour=table["colour"].where(~others, "never seen in training")
    )
    result_after, after = prepared(changed, tmp_path / "after")
    assert result_after["source"] != result["source"]
    assert after.encoder == whole.encoder
    assert Profile.load(after.profile_path) == Profile.load(whole.profile_path)


def test_the_seed_decides_the_split(table: pd.DataFrame, tmp_path: Path) -> None:
    digests = [prepared(table, tmp_path / str(i), seed)[0]["digest"] for i, seed in enumerate((0, 0, 1))]
    assert digests[0] == digests[1] != digests[2]


def test_rows_without_target_are_left_out_and_counted(table: pd.DataFrame, tmp_path: Path) -> None:
    table.loc[[3, 8], "label"] = None
    result, _ = prepared(table, tmp_path)
    assert result["rows_without_target"] == 2
    assert sum(result["rows"].values()) == 198


def test_the_result_counts_missing_values_and_classes(table: pd.DataFrame, tmp_path: Path) -> None:
    table.loc[[3, 8], "colour"] = None
    result, _ = prepared(table, tmp_path)
    assert {column["name"]: column["missing"] for column in result["columns"]} == {"size": 0, "colour": 2, "group": 0}
    assert result["classes"] == {"no": 0.25, "yes": 0.75}


@pytest.mark.parametrize("kind", ["int64", "float64", "Int64", "bool", "category"])
def test_classes_of_any_type_are_text_in_order(table: pd.DataFrame, tmp_path: Path, kind: str) -> None:
    label = (table["label"] == "yes").astype(int)
    _, whole = prepared(table.assign(label=label.astype(kind)), tmp_path)
    assert whole.classes == (("False", "True") if kind == "bool" else ("0", "1"))
    assert np.mean(whole.arrays("train")[1]) == pytest.approx(0.75, abs=0.02)


def test_several_classes_have_no_favourable_one_unless_it_is_named(tmp_path: Path) -> None:
    digits = {"source": {"kind": "builtin", "name": "digits"}, "target": "target"}
    assert prepare(task(**digits), 0, Path(), tmp_path / "a")["positive"] is None
    assert prepare(task(**digits, positive="7"), 0, Path(), tmp_path / "b")["positive"] == "7"
    assert Prepared.load(tmp_path / "b").classes == tuple(map(str, range(10)))


def test_encoder_is_that_of_the_training_frame(adult: tuple[dict[str, Any], Prepared]) -> None:
    whole = adult[1]
    assert Encoder.fit(whole.frame("train"), whole.encoder.columns) == whole.encoder


@pytest.mark.parametrize(
    ("change", "values", "message"),
    [
        ({}, {"target": "lable"}, "task.target: unknown name 'lable'"),
        ({}, {"target": "lable"}, "did you mean 'label'?"),
        ({}, {"drop": ("colr",)}, "task.drop: unknown name 'colr'"),
        ({}, {"sensitive": ("grop",)}, "did you mean 'group'?"),
        ({}, {"sensitive": ("label",)}, "task.sensitive: 'label' is the target"),
        ({}, {"drop": ("label",)}, "task.drop: 'label' is the target"),
        ({}, {"positive": "maybe"}, "task.positive: unknown name 'maybe', expected one of no, yes"),
        ({}, {"drop": ("size", "colour", "group")}, "no column is left for the model"),
        ({}, {"split": {"test": {"column": "fold", "value": "2"}}}, "task.split.test.column: unknown name 'fold'"),
        ({}, {"split": {"test": {"column": "group", "value": "c"}}}, "no row has 'c' in 'group', which holds a, b"),
        (
            {},
            {"split": {"test": {"column": "group", "value": "a"}}, "sensitive": ("group",)},
            "'group' marks the test rows",
        ),
        ({"label": "yes"}, {}, "'label' has one class, 'yes'"),
        ({"label": None}, {}, "'label' is missing in every row"),
        ({"label": np.arange(200) / 3}, {}, "'label' holds fractions; regression is not supported yet"),
        ({"label": range(200)}, {}, "'label' has 200 distinct values, at most 100 can be classes; regression"),
        ({"label": [f"{i} %" for i in range(200)]}, {}, "at most 100 can be classes; group them"),
        ({"label": ["no"] * 3 + ["yes"] * 197}, {}, "class 'no' has 3 rows, too few"),
        ({"colour": [f"shade {i}" for i in range(200)]}, {}, "column 'colour': 200 distinct values in 200 rows"),
        ({"size": pd.date_range("2026-01-01", periods=200)}, {}, "column 'size': holds Timestamp"),
        ({"size": [[1.0]] * 200}, {}, "column 'size': holds"),
        ({"size": None}, {}, "column 'size': no training row has a value"),
        ({"numeric": "x"}, {}, "column 'numeric': the name is kept"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused_by_name_and_nothing_is_written(
    table: pd.DataFrame, tmp_path: Path, change: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        prepared(table.assign(**change), tmp_path, **values)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()
