"""Is the challenger better than the champion? Judged on the same rows, so that what is hard for both cancels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

from nas_core.interfaces import Task

_RESAMPLES = 500
_LOWER_IS_BETTER = frozenset({"log_loss"})


class Comparison(NamedTuple):
    """Both values of `metric`, the gain, and its bounds, of which each holds with the confidence.

    `better` and `worse` count the rows that only the challenger, or only the rival, predicts rightly.
    """

    metric: str
    method: str
    challenger: float
    rival: float
    difference: float
    lower: float
    upper: float
    better: int
    worse: int


def metrics(task: Task, probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return all metrics of `task` for class probabilities (rows, classes)."""
    import torch

    logits = torch.from_numpy(probabilities.astype(np.float64)).clamp_min(torch.finfo(torch.float64).tiny).log()
    return task.metrics((logits,), (torch.from_numpy(targets),))


def keeps(metric: str, value: float, limit: float) -> bool:
    """Tell whether a value of `metric` is as good as `limit` at least."""
    return value <= limit if metric in _LOWER_IS_BETTER else value >= limit


def compare(
    metric: str, task: Task, challenger: np.ndarray, rival: np.ndarray, targets: np.ndarray, confidence: float
) -> Comparison:
    """Compare two models' probabilities (rows, classes) of the same rows by `metric`; better is a positive difference.

    Accuracy is compared exactly, other metrics by the paired bootstrap. What is no metric of predictions (a number of
    parameters) is replaced by accuracy.
    """
    now, before = (metrics(task, p, targets) for p in (challenger, rival))
    hit, hit_before = challenger.argmax(axis=1) == targets, rival.argmax(axis=1) == targets
    better, worse = int((hit & ~hit_before).sum()), int((~hit & hit_before).sum())
    if metric == "accuracy" or metric not in now:
        metric, method = "accuracy", "exact McNemar test"
        lower, upper = mcnemar(better, worse, len(targets), confidence)
    else:
        method = "paired bootstrap"
        lower, upper = paired_bootstrap(
            lambda rows: _gain(metric, *(metrics(task, p[rows], targets[rows]) for p in (challenger, rival))),
            len(targets),
            confidence,
        )
    gain = _gain(metric, now, before)
    return Comparison(metric, method, now[metric], before[metric], gain, lower, upper, better, worse)


def _gain(metric: str, now: Mapping[str, float], before: Mapping[str, float]) -> float:
    difference = now.get(metric, np.nan) - before.get(metric, np.nan)
    return -difference if metric in _LOWER_IS_BETTER else difference


def mcnemar(better: int, worse: int, rows: int, confidence: float) -> tuple[float, float]:
    """Return one-sided bounds of the true difference in accuracy, each at `confidence`.

    Only rows that one model predicts rightly and the other wrongly tell them apart (McNemar 1947). Given how many
    there are, those for the challenger are binomial, and the exact bounds of their share (Clopper and Pearson 1934)
    bound the difference: the lower one is above 0 just if the exact one-sided test is significant.
    """
    discordant = better + worse
    low = beta.ppf(1 - confidence, better, worse + 1) if better else 0.0
    high = beta.ppf(confidence, better + 1, worse) if worse else 1.0
    share = discordant / rows
    return float(2 * low - 1) * share + 0.0, float(2 * high - 1) * share  # + 0.0: not -0.0


def paired_bootstrap(gain: Callable[[np.ndarray], float], rows: int, confidence: float) -> tuple[float, float]:
    """Return one-sided percentile bounds of `gain(row indices)`, each at `confidence`; rows are drawn with seed 0."""
    rng = np.random.default_rng(0)
    gains = [gain(rng.integers(rows, size=rows)) for _ in range(_RESAMPLES)]
    lower, upper = np.nanquantile(gains, [1 - confidence, confidence])
    return float(lower), float(upper)
