"""A column of texts, as the words that they are made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, Literal

import numpy as np

from components.encodings.items import Values, as_columns, never_known, read_each
from nas_core.types import Port

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SPECIAL = 2
"""Index 0 pads, 1 is a word that is not in the vocabulary."""


@dataclass(frozen=True)
class Text:
    """The first `length` words of each text: word i of the `vocabulary` is i + 2, any other is 1, and 0 fills the rest.

    A word is a run of letters, digits and underscores, lower-cased. The vocabulary holds the words of the training
    rows, those of most rows first. The first `firm` of them would be in it without any single one of these rows, too.
    """

    kind: ClassVar[Literal["text"]] = "text"
    name: str
    length: int
    vocabulary: tuple[str, ...]
    firm: int

    measures: ClassVar[tuple[str, ...]] = ("words", "unknown", "word_length")

    @classmethod
    def fit(cls, name: str, values: Values, *, vocabulary: int = 5000, length: int = 32) -> Text:
        """Return the encoding for `values` with `vocabulary` words at most, of equally frequent ones all or none.

        InputError if there are no words, ItemError for a value that is neither text nor missing.
        """
        counts = Counter(chain.from_iterable(map(set, read_each(name, values, words))))
        if not counts:
            raise never_known(name, "a word in it", "name another column")
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        more = counts[ordered[vocabulary]] if len(ordered) > vocabulary else 0
        kept = [word for word in ordered if counts[word] > more] or ordered[:vocabulary]
        least = counts[kept[-1]]
        return cls(name, length, tuple(kept), sum(counts[word] > least for word in kept))

    @property
    def port(self) -> Port:
        """The input of a model: (length,) indices of words."""
        return Port(name=self.name, shape=(self.length,), dtype="int64", classes=len(self.vocabulary) + _SPECIAL)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.vocabulary, start=_SPECIAL)}

    def encode(self, values: Values) -> np.ndarray:
        """Return the indices of the words, int64 (rows, length); ItemError for a value that is no text."""
        found = np.zeros((len(values), self.length), np.int64)
        for row, text in enumerate(read_each(self.name, values, words)):
            kept = [self._index.get(word, 1) for word in text[: self.length]]
            found[row, : len(kept)] = kept
        return found

    def measure(self, values: Values) -> dict[str, np.ndarray]:
        """Return plain figures of each whole text, float64 (rows,); NaN where there are no words.

        How many words it has, the share of those that are not in the vocabulary, and their mean length.
        """
        texts = read_each(self.name, values, words)
        return as_columns(self.measures, (_figures(text, self._index) for text in texts))

    def for_training_rows(self) -> Text:
        """Return this encoding as each training row would meet it if it had been fitted on the others.

        Otherwise no training row would have an unknown word, and any new one would look different.
        """
        return replace(self, vocabulary=self.vocabulary[: self.firm])


def words(value: Any) -> list[str]:
    """Return the words of a text, lower-cased; none of a missing one. ValueError for another value."""
    if value is None:
        return []
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {type(value).__name__}")
    return _WORD.findall(value.lower())


def _figures(text: Sequence[str], known: Container[str]) -> list[float]:
    if not text:
        return [0.0, np.nan, np.nan]
    count = len(text)
    return [float(count), sum(word not in known for word in text) / count, sum(map(len, text)) / count]
