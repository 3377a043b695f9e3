"""Pass, fail or inconclusive: what the counts of an attribute's groups say about the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from components.fairness.groups import Counts
from components.fairness.intervals import Pair, Rate, compare
from components.spec import FairnessSpec

Verdict = Literal["pass", "fail", "inconclusive"]

_RATES = {
    "demographic_parity": (("selection rate", "selected", "rows"),),
    "equalized_odds": (
        ("true positive rate", "hits", "positives"),
        ("false positive rate", "false_alarms", "negatives"),
    ),
    "accuracy": (("accuracy", "correct", "rows"),),
}
"""The rates that a metric compares: name, successes, trials."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on one attribute.

    `difference` is the largest observed one, between `worst_groups`; `interval` holds the largest true one. Both are
    None if fewer than two groups could be judged.
    """

    verdict: Verdict
    reason: str
    judged: tuple[Counts, ...]
    difference: float | None = None
    interval: tuple[float, float] | None = None
    worst_groups: tuple[str, str] | None = None


def label(counts: Counts) -> str:
    """Return the name of a group."""
    return " & ".join(counts.group)


def least_class_rows(config: FairnessSpec) -> int:
    """Return how many rows of a class a group needs for a rate within that class: a quarter of `min_group`."""
    return -(-config.min_group // 4)


def large_enough(counts: Counts, config: FairnessSpec) -> bool:
    """Tell whether a group has the rows that the metric needs."""
    needed = least_class_rows(config)
    trials = [getattr(counts, name) for _, _, name in _RATES[config.metric]]
    return counts.rows >= config.min_group and all(n is not None and n >= needed for n in trials)


def judge(groups: Sequence[Counts], config: FairnessSpec, attributes: int, rng: np.random.Generator) -> Judgement:
    """Return the verdict on an attribute with these `groups`, one of `attributes` in the audit.

    Fail if some two groups are shown to differ by more than the limit: the probability that the audit fails any
    attribute although all true differences keep it is at most (1 - confidence) / 2, over all groups and attributes.
    Pass if all are shown to differ by less: if one does not, that has the same bound.
    """
    judged = tuple(group for group in groups if large_enough(group, config))
    if len(judged) < 2:
        return Judgement("inconclusive", _too_few(config, len(groups)), judged)
    rates = [
        Rate(name, *(np.array([getattr(group, kind) for group in judged], np.int64) for kind in kinds))
        for name, *kinds in _RATES[config.metric]
    ]
    alpha = (1 - config.confidence) / 2
    pairs = compare(rates, alpha / attributes, alpha, config.bootstrap, rng)
    worst = max(pairs, key=lambda pair: pair.difference)
    surest = max(pairs, key=lambda pair: pair.lower)
    interval = (surest.lower, max(pair.upper for pair in pairs))
    limit = config.max_difference
    if interval[0] > limit:
        verdict: Verdict = "fail"
        reason = f"{_between(surest, judged)} differ in {surest.rate} by at least {surest.lower:.3f}, limit {limit:g}"
    elif interval[1] < limit:
        verdict, reason = "pass", f"no two groups differ by more than {interval[1]:.3f}, limit {limit:g}"
    else:
        verdict = "inconclusive"
        reason = f"the largest difference lies in {interval[0]:.3f} to {interval[1]:.3f}, limit {limit:g}"
    names = label(judged[worst.groups[0]]), label(judged[worst.groups[1]])
    return Judgement(verdict, reason + _left_out(groups, judged), judged, worst.difference, interval, names)


def overall(verdicts: Sequence[Verdict]) -> str:
    """Return the verdict on the whole audit."""
    if not verdicts:
        return "not audited"
    order: tuple[Verdict, ...] = ("fail", "inconclusive", "pass")
    return next(verdict for verdict in order if verdict in verdicts)


def _between(pair: Pair, judged: Sequence[Counts]) -> str:
    return " and ".join(label(judged[i]) for i in pair.groups)


def _too_few(config: FairnessSpec, groups: int) -> str:
    within = f" and {least_class_rows(config)} of each class" if config.metric == "equalized_odds" else ""
    return f"fewer than two of {groups} groups have {config.min_group} rows{within}; lower min_group or audit more rows"


def _left_out(groups: Sequence[Counts], judged: Sequence[Counts]) -> str:
    small = len(groups) - len(judged)
    return f"; {small} of {len(groups)} groups too small to judge" if small else ""
