from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.encoding import Categorical, Column, Encoder, Numeric, raw_columns, text_of
from components.encodings.items import ItemError, naming_rows
from components.encodings.text import Text
from nas_core.errors import InputError
from nas_core.types import Port

COLUMNS = (
    Column("age", "numeric"),
    Column("job", "categorical"),
    Column("gain", "numeric"),
    Column("own", "categorical"),
)
finite = st.floats(-1e9, 1e9)


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": [20, 30, 40, 50, 60, 70],
            "job": pd.Categorical(["b", "a", None, "c", "a", "b"]),
            "gain": [0.0, 0.0, 0.0, np.nan, 100.0, 5000.0],
            "own": [True, False, True, True, False, False],
        }
    )


@pytest.fixture
def encoder(frame: pd.DataFrame) -> Encoder:
    return Encoder.fit(frame, COLUMNS)


def test_ports_are_all_numbers_together_then_each_category_with_one_index_more_for_the_unknown(
    encoder: Encoder,
) -> None:
    assert encoder.ports == (
        Port(name="numeric", shape=(2,)),
        Port(name="job", shape=(), dtype="int64", classes=4),
        Port(name="own", shape=(), dtype="int64", classes=3),
    )


def test_arrays_fit_the_ports(encoder: Encoder, frame: pd.DataFrame) -> None:
    for port, array in zip(encoder.ports, encoder.encode(frame), strict=True):
        assert array.shape == (6, *port.shape)
        assert array.dtype == port.dtype
        assert not port.classes or array.max() < port.classes


def test_training_values_have_mean_0_and_deviation_1(encoder: Encoder, frame: pd.DataFrame) -> None:
    ages = encoder.encode(frame)[0][:, 0]
    assert ages.mean() == pytest.approx(0, abs=1e-6)
    assert ages.std() == pytest.approx(1, abs=1e-6)


@given(arrays(np.float64, st.integers(1, 80), elements=finite), arrays(np.float64, 20, elements=finite))
def test_the_order_of_numbers_is_kept(train: np.ndarray, values: np.ndarray) -> None:
    encoded = Numeric.fit("x", train).encode(np.sort(values))
    assert (np.diff(encoded) >= 0).all()


@given(arrays(np.float64, st.integers(1, 80), elements=finite), st.floats(allow_nan=True, allow_infinity=True))
def test_no_number_leaves_the_range_of_the_training_rows(train: np.ndarray, value: float) -> None:
    column = Numeric.fit("x", train)
    known = column.encode(train)
    assert known.min() <= column.encode(np.array([value]))[0] <= known.max()


def test_rare_values_beside_a_frequent_one_are_told_apart() -> None:
    gains = np.concatenate([np.zeros(920), np.arange(80) * 1000 + 1000])
    encoded = Numeric.fit("gain", gains).encode(gains)
    assert len(np.unique(encoded)) == 81


def test_missing_and_infinite_numbers_are_the_median(encoder: Encoder) -> None:
    rows = {"age": [None, float("inf"), 45], "job": ["a"] * 3, "gain": [0] * 3, "own": [True] * 3}
    ages = encoder.encode_columns(rows)[0][:, 0]
    assert ages[0] == ages[1] == ages[2]


def test_unknown_and_missing_categories_are_index_0(encoder: Encoder) -> None:
    rows = {"age": [1] * 4, "job": ["a", "never seen", None, float("nan")], "gain": [0] * 4, "own": [True] * 4}
    assert encoder.encode_columns(rows)[1].tolist() == [1, 0, 0, 0]


def test_a_constant_column_is_0() -> None:
    assert Numeric.fit("x", np.full(9, 7.0)).encode(np.array([7.0, 8.0])).tolist() == [0.0, 0.0]


def test_values_of_a_request_encode_as_those_of_a_frame(encoder: Encoder, frame: pd.DataFrame) -> None:
    request = {name: json.loads(frame[name].to_json(orient="values")) for name in frame}
    for a, b in zip(encoder.encode(frame), encoder.encode_columns(request), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("size", [1, 4, 6, 99])
def test_batches_are_the_rows_in_order(encoder: Encoder, frame: pd.DataFrame, size: int) -> None:
    batches = list(encoder.encode_batches(encoder.raw(frame), size))
    assert max(len(batch[0]) for batch in batches) <= size
    for whole, *parts in zip(encoder.encode(frame), *batches, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_no_rows_are_one_empty_batch(encoder: Encoder, frame: pd.DataFrame) -> None:
    [batch] = encoder.encode_batches(encoder.raw(frame[:0]), 4)
    assert [array.shape[0] for array in batch] == [0, 0, 0]


def test_an_item_of_a_later_batch_is_told_by_its_row_of_all() -> None:
    texts = Encoder((), (), (Text.fit("question", ["what"]),))
    with pytest.raises(ItemError, match="column 'question', row 7: expected text, got int"):
        list(texts.encode_batches({"question": ["what"] * 7 + [1]}, 3))


def test_a_row_of_a_frame_is_told_by_its_label_and_its_file() -> None:
    text = Text.fit("question", ["what"])
    frame = pd.DataFrame({"question": ["what", 1], "file": ["a.txt", "b.txt"]}, index=[4, 9])
    with pytest.raises(InputError, match=r"column 'question', row 9 \(b\.txt\): expected text"), naming_rows(frame):
        text.encode(frame["question"].tolist())


def test_an_input_of_media_is_the_last_port() -> None:
    encoder = Encoder((), (), (Text.fit("question", ["what"], length=3),))
    assert encoder.columns == (Column("question", "text"),)
    assert encoder.ports == (Port(name="question", shape=(3,), dtype="int64", classes=3),)


def test_json_and_back_is_the_same_encoder(encoder: Encoder) -> None:
    assert Encoder.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder


def test_a_column_that_no_training_row_has_is_refused() -> None:
    with pytest.raises(InputError, match="column 'x': no training row has a value"):
        Numeric.fit("x", np.array([np.nan, np.inf]))
    with pytest.raises(InputError, match="column 'x': no training row has a value"):
        Categorical.fit("x", [None, float("nan")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": ["old"]}, "column 'age': expected one number a row"),
        ({"age": ["39"]}, "column 'age': expected one number a row"),
        ({"age": [None, "39"]}, "column 'age': expected one number a row"),
        ({"age": [[1, 2]]}, "column 'age': expected one number a row"),
        ({"age": [1, 2]}, "all need the same number of rows, got {'age': 2, 'gain': 1"),
    ],
)
def test_a_request_that_does_not_fit_names_the_column(
    encoder: Encoder, change: dict[str, list[object]], message: str
) -> None:
    rows = {"age": [1], "job": ["a"], "gain": [0], "own": [True], **change}
    if change == {"age": [None, "39"]}:
        rows = {name: values if name == "age" else values * 2 for name, values in rows.items()}
    with pytest.raises(InputError) as caught:
        encoder.encode_columns(rows)
    assert message in str(caught.value)


def test_columns_that_are_not_given_are_named(encoder: Encoder, frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="columns: gain, own not given"):
        encoder.encode(frame.drop(columns=["gain", "own"]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (float("nan"), None),
        (1, "1"),
        (1.0, "1"),
        (np.float32(2), "2"),
        (1.5, "1.5"),
        (True, "True"),
        ("", ""),
    ],
)
def test_text_of(value: object, text: str | None) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize("kind", ["Int64", "float32", "bool", "object"])
def test_numbers_of_any_pandas_type_are_read(kind: str) -> None:
    raw = raw_columns(pd.DataFrame({"x": pd.Series([0, 1], dtype=kind)}), [Column("x", "numeric")])
    assert raw["x"].tolist() == [0.0, 1.0]


def test_encoding_a_request_needs_no_pandas() -> None:
    code = "import sys, components.encoding; sys.exit('pandas' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
