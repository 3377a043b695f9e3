from __future__ import annotations

import numpy as np
import pytest

from components.deploy import gates
from components.deploy.quality import Comparison
from components.deploy.rival import Rival

TARGETS = np.array([0, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.50001, 0.49999]], np.float32)


def comparison(lower: float) -> Comparison:
    return Comparison("accuracy", "exact McNemar test", 0.86, 0.85, 0.01, lower, 0.02, 30, 10)


def test_close_probabilities_are_on_par() -> None:
    gate = gates.parity(PROBABILITIES, PROBABILITIES + 1e-5, TARGETS, 1e-4)
    assert gate.passed
    assert gate.value == pytest.approx(1e-5, rel=0.01)


def test_one_row_that_is_off_is_enough_to_fail() -> None:
    off = PROBABILITIES.copy()
    off[1] = [0.21, 0.79]
    assert not gates.parity(PROBABILITIES, off, TARGETS, 1e-4).passed


def test_a_tie_may_be_broken_either_way() -> None:
    swapped = PROBABILITIES.copy()
    swapped[2] = swapped[2, ::-1]
    assert gates.parity(PROBABILITIES, swapped, TARGETS, 1e-4).passed


def test_a_probability_that_is_no_number_is_off() -> None:
    broken = np.full_like(PROBABILITIES, np.nan)
    gate = gates.parity(PROBABILITIES, broken, TARGETS, 1e-4)
    assert (gate.passed, gate.value) == (False, None)


@pytest.mark.parametrize(("limit", "passed"), [(None, True), (2.0, True), (1.9, False)])
def test_size_is_in_megabytes(limit: float | None, passed: bool) -> None:
    gate = gates.size(bytes(2_000_000), limit)
    assert (gate.value, gate.passed) == (2.0, passed)


@pytest.mark.parametrize(("limit", "passed"), [(None, True), (1.5, True), (0.9, False)])
def test_the_median_is_what_latency_is_judged_by(limit: float | None, passed: bool) -> None:
    assert gates.latency(1.0, 2.0, limit).passed is passed


@pytest.mark.parametrize("blocking", [True, False])
def test_a_failed_audit_stops_only_if_it_blocks(blocking: bool) -> None:
    result = {"verdict": "fail", "blocking": blocking, "attributes": {"sex": {"verdict": "fail"}}}
    gate = gates.fairness(result)
    assert gate.passed is not blocking
    assert "fail by sex" in gate.text


def test_the_gain_has_to_be_above_zero_for_sure() -> None:
    assert gates.better(Rival(PROBABILITIES, "abc"), comparison(0.001), 0.95).passed
    assert not gates.better(Rival(PROBABILITIES, "abc"), comparison(0.0), 0.95).passed


def test_the_gate_is_called_by_the_rival() -> None:
    rivals = Rival(PROBABILITIES, "abc"), Rival(PROBABILITIES), Rival(PROBABILITIES, "abc", "a column is gone")
    found = [gates.better(rival, comparison(0.001), 0.95) for rival in rivals]
    assert [gate.gate for gate in found] == ["champion", "baseline", "baseline"]
    assert "a column is gone" in found[2].text
