"""The groups of an audit, and what the model did to each, counted by fairlearn's `MetricFrame`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from components.encoding import text_of
from components.spec import Bins
from nas_core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MISSING = "missing"
_FEW = 10
"""A numeric column with at most so many distinct values is taken as a category; others are cut into bins."""


@dataclass(frozen=True)
class Counts:
    """One group: its value of each attribute, and its rows.

    `rows` are all, `correct` those predicted rightly. `positives` belong to the favourable class, `selected` were
    predicted to, `hits` both. These three are None where no class is favourable.
    """

    group: tuple[str, ...]
    rows: int
    correct: int
    positives: int | None = None
    selected: int | None = None
    hits: int | None = None

    @property
    def negatives(self) -> int | None:
        """Rows of the other classes."""
        return None if self.positives is None else self.rows - self.positives

    @property
    def false_alarms(self) -> int | None:
        """Rows of the other classes that were predicted to belong to the favourable one."""
        return None if self.selected is None or self.hits is None else self.selected - self.hits


def attributes(sensitive: Sequence[str], intersections: bool) -> list[tuple[str, ...]]:
    """Return the combinations of columns to audit: each alone and, if asked for, every two and all together."""
    found: list[tuple[str, ...]] = [(name,) for name in sensitive]
    if intersections:
        found += combinations(sensitive, 2)
        if len(sensitive) > 2:
            found.append(tuple(sensitive))
    return found


def as_groups(frame: pd.DataFrame, bins: Sequence[Bins]) -> pd.DataFrame:
    """Return the sensitive columns of `frame` as categories, in their natural order.

    Numeric columns are cut at the edges that `bins` gives, else at their quartiles; a numeric column of few distinct
    values is not cut unless `bins` says so. InputError if `bins` names a column that is no sensitive or no numeric one.
    """
    import pandas as pd

    names = [str(name) for name in frame.columns]
    edges = {cut.column: cut.edges for cut in bins}
    for column in edges:
        if column not in names:
            raise InputError(
                f"fairness.bins: {column!r} is not a sensitive column (they are {', '.join(names)}); "
                "add it to task.sensitive or drop its bins"
            )
        if not _is_numeric(frame[column]):
            raise InputError(f"fairness.bins: {column!r} is not numeric, its categories are the groups; drop its bins")
    return pd.DataFrame({name: _categories(frame[name], edges.get(name)) for name in names})


def count(
    targets: np.ndarray, predicted: np.ndarray, positive: int | None, groups: pd.DataFrame, attribute: Sequence[str]
) -> list[Counts]:
    """Return the counts of every group of `attribute` that occurs; classes are int64 (rows,)."""
    from fairlearn.metrics import MetricFrame

    metrics = _metrics(positive)
    frame = MetricFrame(
        metrics=metrics, y_true=targets, y_pred=predicted, sensitive_features=groups[list(attribute)].astype(str)
    )
    place = [{str(c): i for i, c in enumerate(groups[name].cat.categories)} for name in attribute]
    found = []
    for key, row in frame.by_group.dropna().iterrows():
        labels = key if isinstance(key, tuple) else (key,)
        found.append(Counts(labels, **{name: int(row[name]) for name in metrics}))
    return sorted(found, key=lambda c: [at[label] for at, label in zip(place, c.group, strict=True)])


def _metrics(positive: int | None) -> dict[str, Callable[[Any, Any], int]]:
    """Return what MetricFrame computes: counts, since a rate without rows to divide by is no rate, and not 0."""
    metrics: dict[str, Callable[[Any, Any], int]] = {
        "rows": lambda targets, _: len(targets),
        "correct": lambda targets, predicted: int((np.asarray(targets) == np.asarray(predicted)).sum()),
    }
    if positive is not None:
        metrics["positives"] = lambda targets, _: int((np.asarray(targets) == positive).sum())
        metrics["selected"] = lambda _, predicted: int((np.asarray(predicted) == positive).sum())
        metrics["hits"] = lambda targets, predicted: int(
            ((np.asarray(targets) == positive) & (np.asarray(predicted) == positive)).sum()
        )
    return metrics


def _categories(column: pd.Series, edges: Sequence[float] | None) -> pd.Categorical:
    import pandas as pd

    numeric = _is_numeric(column)
    if edges is None and numeric and column.nunique() > _FEW:
        edges = _quartiles(column)
    if edges is not None:
        labels, numbers = _labels(edges), column.to_numpy(float, na_value=np.nan)
        texts = [MISSING if np.isnan(number) else labels[np.digitize(number, edges)] for number in numbers]
    else:
        values = column.astype(object).where(column.notna(), None).tolist()
        texts = [text_of(value) or MISSING for value in values]
        known = sorted({value for value in values if value is not None}) if numeric else sorted(set(texts))
        labels = [text_of(value) or MISSING for value in known]
    return pd.Categorical(texts, [*(label for label in labels if label != MISSING), MISSING])


def _quartiles(column: pd.Series) -> list[float]:
    """Return the quartiles as edges; of a column that is mostly its lowest value, what divides this from the rest."""
    lowest, *quartiles = column.quantile([0, 0.25, 0.5, 0.75]).to_numpy(float)
    edges = sorted({float(edge) for edge in quartiles if edge > lowest})
    return edges or [float(column[column > lowest].min())]


def _labels(edges: Sequence[float]) -> list[str]:
    short = [f"{edge:g}" for edge in edges]
    texts = [text if float(text) == edge else repr(edge) for text, edge in zip(short, edges, strict=True)]
    between = [f"{low} to {high}" for low, high in pairwise(texts)]
    return [f"< {texts[0]}", *between, f">= {texts[-1]}"]


def _is_numeric(column: pd.Series) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))
