from __future__ import annotations

import numpy as np
import pytest

from components.fairness.groups import Counts
from components.fairness.verdict import Judgement, judge, large_enough, overall
from components.spec import FairnessSpec

ROWS = (3000, 1200, 400, 200, 150, 120, 110, 20)


def audit(
    tpr: list[float], fpr: list[float], rows: tuple[int, ...], seed: int, config: FairnessSpec | None = None
) -> tuple[list[Counts], Judgement]:
    """Draw groups with these true rates and a quarter of positives, and judge them."""
    rng = np.random.default_rng(seed)
    groups = []
    for i, (n, hit, alarm) in enumerate(zip(rows, tpr, fpr, strict=True)):
        positives = int(rng.binomial(n, 0.25))
        hits, alarms = int(rng.binomial(positives, hit)), int(rng.binomial(n - positives, alarm))
        groups.append(Counts((f"g{i}",), n, hits + n - positives - alarms, positives, hits + alarms, hits))
    return groups, judge(groups, config or FairnessSpec(), 1, rng)


def bare_difference(groups: list[Counts]) -> float:
    """The equalised-odds difference as a threshold alone would judge it: 0 for a rate without rows."""
    tpr = [(g.hits or 0) / (g.positives or 1) for g in groups]
    fpr = [(g.false_alarms or 0) / (g.negatives or 1) for g in groups]
    return max(max(tpr) - min(tpr), max(fpr) - min(fpr))


def test_without_a_true_disparity_audits_rarely_fail() -> None:
    # The confidence allows 5 % (α of this test: 0.6 %).
    audits = [audit([0.6] * 8, [0.08] * 8, ROWS, seed) for seed in range(200)]
    assert sum(judgement.verdict == "fail" for _, judgement in audits) < 19
    # The same counts, judged by the bare threshold, would nearly all have failed.
    assert sum(bare_difference(groups) > FairnessSpec().max_difference for groups, _ in audits) > 180


def test_a_true_disparity_is_found() -> None:
    found = [audit([0.7, 0.45, *[0.6] * 6], [0.08] * 8, ROWS, seed)[1] for seed in range(20)]
    assert sum(judgement.verdict == "fail" for judgement in found) >= 18
    assert all(judgement.worst_groups is not None for judgement in found)


def test_a_failure_names_the_groups_the_rate_and_the_limit() -> None:
    _, judgement = audit([0.9, 0.3], [0.1, 0.1], (3000, 3000), 0)
    assert judgement.verdict == "fail"
    assert judgement.reason.startswith("g0 and g1 differ in true positive rate by at least 0.5")
    assert judgement.reason.endswith("limit 0.1")


def test_large_equal_groups_pass() -> None:
    _, judgement = audit([0.6] * 3, [0.08] * 3, (9000, 9000, 9000), 0)
    assert judgement.verdict == "pass"
    assert judgement.interval is not None
    assert judgement.interval[1] < 0.1


def test_an_interval_that_spans_the_limit_is_inconclusive() -> None:
    _, judgement = audit([0.6, 0.6], [0.08, 0.08], (300, 300), 0)
    assert judgement.verdict == "inconclusive"


def test_a_group_without_positives_is_no_disparity() -> None:
    groups = [Counts((name,), 4000, 3600, 1000, 900, 750) for name in "ab"] + [Counts(("c",), 500, 480, 0, 20, 0)]
    judgement = judge(groups, FairnessSpec(), 1, np.random.default_rng(0))
    assert judgement.verdict == "pass"
    assert [counts.group for counts in judgement.judged] == [("a",), ("b",)]
    assert "1 of 3 groups too small to judge" in judgement.reason


def test_fewer_than_two_large_groups_are_inconclusive() -> None:
    _, judgement = audit([0.6, 0.0], [0.1, 0.9], (4000, 50), 0)
    assert (judgement.verdict, judgement.difference, judgement.interval) == ("inconclusive", None, None)
    assert judgement.reason.startswith("fewer than two of 2 groups have 100 rows and 25 of each class")


@pytest.mark.parametrize(
    ("metric", "judged"), [("equalized_odds", False), ("demographic_parity", True), ("accuracy", True)]
)
def test_only_equalized_odds_needs_rows_of_each_class(metric: str, judged: bool) -> None:
    few_positives = Counts(("a",), rows=200, correct=180, positives=3, selected=10, hits=2)
    assert large_enough(few_positives, FairnessSpec(metric=metric)) is judged


def test_demographic_parity_compares_selection_rates() -> None:
    groups = [Counts(("a",), 1000, 900, 300, 300, 250), Counts(("b",), 1000, 900, 300, 100, 80)]
    judgement = judge(groups, FairnessSpec(metric="demographic_parity"), 1, np.random.default_rng(0))
    assert judgement.difference == pytest.approx(0.2)
    assert "selection rate" in judgement.reason


def test_accuracy_compares_shares_of_correct_rows() -> None:
    groups = [Counts(("a",), 1000, 900), Counts(("b",), 1000, 700)]
    judgement = judge(groups, FairnessSpec(metric="accuracy"), 1, np.random.default_rng(0))
    assert judgement.difference == pytest.approx(0.2)
    assert judgement.verdict == "fail"


def test_more_attributes_make_a_failure_harder() -> None:
    groups, _ = audit([0.9, 0.75], [0.1, 0.1], (1000, 800), 0)
    few, many = (judge(groups, FairnessSpec(), n, np.random.default_rng(0)).interval for n in (1, 50))
    assert few is not None
    assert many is not None
    assert many[0] < few[0]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], "not audited"),
        (["pass", "pass"], "pass"),
        (["pass", "inconclusive"], "inconclusive"),
        (["inconclusive", "fail", "pass"], "fail"),
    ],
)
def test_the_worst_verdict_is_the_audits(verdicts: list[str], expected: str) -> None:
    assert overall(verdicts) == expected
