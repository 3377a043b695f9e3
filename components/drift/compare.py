"""Two samples of a column compared: how sure a difference is, and how large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2_contingency, fisher_exact, ks_2samp

from components.profile import CategoricalProfile, NumericProfile, Profile

_LEAST_EXPECTED = 5  # rows a cell, the usual rule for the chi-squared approximation (Cochran 1954)


class Difference(NamedTuple):
    """One test of one column: its p-value, and its effect between 0 (equal) and 1 (nothing in common)."""

    column: str
    test: str
    p: float
    effect: float


def differences(reference: Profile, window: Profile) -> list[Difference]:
    """Return the tests of all columns of `reference`, which `window` has too.

    A numeric column is tested for its values, and for the share of missing ones if either has any. A reference that was
    thinned out counts as the values that are left, which can only hide a difference, not make one up.
    """
    found = []
    for name, before in reference.numeric.items():
        found += _numeric(name, before, window.numeric[name], reference.rows, window.rows)
    for name, kinds in reference.categorical.items():
        found.append(_categorical(name, kinds, window.categorical[name]))
    return found


def holm(p: Sequence[float]) -> list[float]:
    """Return the adjusted p-values: below alpha for a true hypothesis with probability alpha at most (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    return [min(float(value), 1.0) for value in adjusted]


def _numeric(name: str, before: NumericProfile, after: NumericProfile, rows: int, new_rows: int) -> list[Difference]:
    found = []
    if before.values and after.values:
        test = ks_2samp(before.values, after.values, method="asymp")
        found.append(Difference(name, "Kolmogorov-Smirnov", float(test.pvalue), float(test.statistic)))
    if before.missing or after.missing:
        table = np.array([[rows - before.missing, before.missing], [new_rows - after.missing, after.missing]])
        found.append(_chi_squared(name, "chi-squared of missing", table))
    return found


def _categorical(name: str, before: CategoricalProfile, after: CategoricalProfile) -> Difference:
    kinds = sorted({*before.counts, *after.counts})
    table = np.array([[_count(p.counts, kind) for kind in kinds] + [p.missing] for p in (before, after)])
    return _chi_squared(name, "chi-squared", table)


def _count(counts: Mapping[str, int], kind: str) -> int:
    return counts.get(kind, 0)


def _chi_squared(name: str, test: str, table: np.ndarray) -> Difference:
    """Compare the rows of `table`, int64 (2, categories).

    The effect is Cramér's V of the two distributions at equal weight, so that it does not shrink when one of them has
    many more rows than the other.
    """
    totals = table.sum(axis=0)
    least = _LEAST_EXPECTED * totals.sum() / table.sum(axis=1).min()
    common, rare = table[:, totals >= least], table[:, (totals > 0) & (totals < least)].sum(axis=1)
    pooled = np.column_stack([common, rare]) if rare.any() else common
    before, after = pooled / pooled.sum(axis=1, keepdims=True)
    effect = np.sqrt(np.sum((before - after) ** 2 / (before + after)) / 2)
    return Difference(name, test, _p_value(common, rare, pooled, least), float(effect))


def _p_value(common: np.ndarray, rare: np.ndarray, pooled: np.ndarray, least: float) -> float:
    """Return the p-value of the `common` categories and of all `rare` ones as one.

    Where even these are too few for chi-squared, an exact test tells them from the others (Fisher 1922), and the
    smaller of two p-values counts twice (Bonferroni).
    """
    if not 0 < rare.sum() < least:
        return _approximate(pooled)
    exact = float(fisher_exact(np.column_stack([rare, common.sum(axis=1)])).pvalue)
    if common.shape[1] < 2 or not common.any(axis=1).all():
        return exact
    return min(1.0, 2 * min(exact, _approximate(common)))


def _approximate(table: np.ndarray) -> float:
    return float(chi2_contingency(table, correction=False).pvalue) if table.shape[1] > 1 else 1.0
