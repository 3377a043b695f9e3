from __future__ import annotations

import pytest

from components.report import words

DECISIONS = {"depth": "2", "width_1": "128", "width_2": "64", "batch_norm": "yes"}


def test_numbered_decisions_become_a_chain() -> None:
    assert words.architecture(DECISIONS) == "depth 2, width 128 → 64, batch norm yes"


def test_layers_are_told_from_what_all_share() -> None:
    assert words.layers(DECISIONS) == ({1: {"width": "128"}, 2: {"width": "64"}}, {"depth": "2", "batch_norm": "yes"})


def test_layers_come_in_the_order_of_their_numbers() -> None:
    numbered, _ = words.layers({f"width_{i}": str(i) for i in (2, 10, 1)})
    assert list(numbered) == [1, 2, 10]


@pytest.mark.parametrize(
    ("metric", "figure", "text"),
    [
        ("accuracy", 0.85625, "85.62 %"),
        ("params", 23456, "23,456"),
        ("latency_ms", 0.08423, "0.08423 ms"),
        ("log_loss", 0.312345, "0.3123"),
        ("log_loss", 12345.678, "12,346"),
        ("parity", 1.19e-7, "1.19e-07"),
        ("accuracy", None, "–"),
    ],
)
def test_a_figure_has_its_unit(metric: str, figure: float | None, text: str) -> None:
    assert words.value(metric, figure) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (185.2, "3 min 5 s"), (7799.0, "2 h 9 min"), (None, "–")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


def test_a_sentence_ends_once() -> None:
    assert words.sentence("all gates passed.") == "All gates passed."
    assert words.sentence("all gates passed") == "All gates passed."
