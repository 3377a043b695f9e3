from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.encoding import Encoder
from components.encodings.items import ItemError
from components.encodings.text import Text, words
from nas_core.errors import InputError
from nas_core.types import Port

TRAIN = ["What is a cat ?", "What is a dog?", "Who's there", None]


@pytest.fixture
def text() -> Text:
    return Text.fit("question", TRAIN, length=4)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Who's there ?", ["who's", "there"]),
        ("N\u00e4chste Stra\u00dfe, 12_b!", ["n\u00e4chste", "stra\u00dfe", "12_b"]),
        ("'tis", ["tis"]),
        ("\u4f60\u597d world", ["\u4f60\u597d", "world"]),
        (" ?! ", []),
        (None, []),
    ],
)
def test_words_are_runs_of_letters_in_lower_case(value: str | None, expected: list[str]) -> None:
    assert words(value) == expected


def test_the_vocabulary_has_the_most_frequent_words_first(text: Text) -> None:
    assert text.vocabulary == ("a", "is", "what", "cat", "dog", "there", "who's")
    assert text.port == Port(name="question", shape=(4,), dtype="int64", classes=9)


@pytest.mark.parametrize(("most", "kept"), [(3, 3), (4, 3), (6, 3), (7, 7), (99, 7)])
def test_words_of_equal_frequency_are_known_together_or_not(most: int, kept: int) -> None:
    assert len(Text.fit("question", TRAIN, vocabulary=most).vocabulary) == kept


def test_if_not_even_the_most_frequent_words_fit_the_first_do() -> None:
    assert Text.fit("question", TRAIN, vocabulary=2).vocabulary == ("a", "is")


def test_0_pads_1_is_unknown_and_what_is_too_long_is_cut(text: Text) -> None:
    encoded = text.encode(["a CAT", "a horse is a horse", "", None])
    assert encoded.tolist() == [[2, 5, 0, 0], [2, 1, 3, 2], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert encoded.dtype == np.int64


@given(st.lists(st.text(), min_size=1), st.lists(st.one_of(st.none(), st.text())))
def test_any_text_is_within_the_port(train: list[str], values: list[str | None]) -> None:
    text = Text.fit("x", ["a", *train], length=3)
    encoded = text.encode(values)
    assert encoded.shape == (len(values), 3)
    assert ((encoded >= 0) & (encoded < text.port.classes)).all()


def test_texts_without_a_word_are_refused() -> None:
    with pytest.raises(InputError, match="column 'question': no training row has a word in it"):
        Text.fit("question", ["", " ?", None])


@pytest.mark.parametrize("value", [3, b"cat", ["cat"]])
def test_what_is_no_text_is_told_by_column_and_row(text: Text, value: Any) -> None:
    with pytest.raises(ItemError, match=f"column 'question', row 1: expected text, got {type(value).__name__}"):
        text.encode(["a cat", value])


def test_json_and_back_is_the_same_encoding(text: Text) -> None:
    encoder = Encoder((), (), (text,))
    assert Encoder.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder


def test_figures_tell_words_unknown_ones_and_their_length(text: Text) -> None:
    figures = text.measure(["a horse is here", "cat", "?"])
    assert figures["words"].tolist() == [4, 1, 0]
    np.testing.assert_array_equal(figures["unknown"], [0.5, 0, np.nan])
    np.testing.assert_array_equal(figures["word_length"], [3, 3, np.nan])


def test_training_rows_are_as_unknown_as_they_are_to_the_others() -> None:
    rng = np.random.default_rng(0)
    train = [" ".join(f"w{i}" for i in rng.zipf(1.5, 6)) for _ in range(60)]
    own = Text.fit("x", train).for_training_rows().measure(train)["unknown"]
    for row, share in enumerate(own):
        others = Text.fit("x", train[:row] + train[row + 1 :])
        assert others.measure([train[row]])["unknown"] == share
    assert own.any()
