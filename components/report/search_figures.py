"""The figures of a search: how it went, and what it traded off. Each is None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from components.report import theme, words
from components.report.theme import Drawn
from nas_core import objectives as order
from nas_core.types import Architecture, Objective, Status, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KINDS = {
    "partly trained": ("s", theme.GREY),
    "pruned": ("v", theme.PURPLE),
    "beyond a limit": ("^", theme.ORANGE),
    "evaluated": ("o", theme.BLUE),
}
"""What came of a trial that has metrics, and how it is marked."""

_ENOUGH = 5
"""Architectures that two fidelities must share, or their rank correlation says nothing."""


def anytime(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Drawn | None:
    """Draw the first objective of all trials in the order in which they ended, and the best so far within limits."""
    ended = sorted((t for t in trials if t.finished is not None), key=lambda t: t.finished or 0)
    if not ended:
        return None
    first, places = objectives[0], {trial.number: place for place, trial in enumerate(ended, start=1)}
    shown = [t for t in ended if first.metric in (t.metrics or {})]
    best = _best_so_far(ended, objectives)
    with theme.style():
        figure = theme.figure(3.3, width=5.4)
        axes = figure.subplots()
        _mark(axes, shown, objectives, lambda t: (places[t.number], order.value(t.metrics or {}, first)))
        dead = [places[t.number] for t in ended if t.metrics is None]
        if dead:
            foot = axes.get_xaxis_transform()
            style: dict[str, Any] = {"marker": "x", "s": 26, "color": theme.RED, "clip_on": False, "transform": foot}
            axes.scatter(dead, [0.03] * len(dead), label=f"failed ({len(dead)})", **style)
        if best:
            xs, ys = zip(*best, (len(ended), best[-1][1]), strict=True)
            axes.step(xs, ys, where="post", color=theme.INK, linewidth=1.6, label="best so far", zorder=3)
        _limit(axes, "y", first, [order.value(t.metrics or {}, first) for t in shown])
        theme.count_axis(axes, "trials, in the order in which they ended")
        axes.set_xlim(0, len(ended) + 1)
        theme.label_axis(axes, "y", first.metric, "validation ")
        theme.finish(figure)
    reached = f"the best reached {words.value(first.metric, best[-1][1])}" if best else "none within the limits"
    return Drawn("anytime", figure, f"Validation {words.plain(first.metric)} of {len(ended):,} trials: {reached}.")


def trade_off(trials: Sequence[Trial], objectives: Sequence[Objective], champion: int | None) -> Drawn | None:
    """Draw the first two objectives against each other, with the front, the limits, and the trial `champion`.

    A single objective is drawn against the number of parameters or, where that was not measured, the cost.
    """
    full = [_with_cost(t) for t in trials if t.status is Status.OK and t.fidelity == 1.0 and t.metrics is not None]
    if not full:
        return None
    first = objectives[0]
    second = objectives[1] if len(objectives) > 1 else _stand_in(full)
    goals = objectives if len(objectives) > 1 else (first, second)

    def place(trial: Trial) -> tuple[float, float]:
        metrics = trial.metrics or {}
        return order.value(metrics, second), order.value(metrics, first)

    front = sorted(place(t) for t in order.pareto_front(full, goals))
    with theme.style():
        figure = theme.figure(3.3, width=5.4)
        axes = figure.subplots()
        _mark(axes, full, objectives, place)
        xs, ys = zip(*front, strict=True)
        if len(goals) == 2:
            axes.step(xs, ys, where="post" if second.goal == "min" else "pre", color=theme.GREEN, linewidth=1.4)
        ring: dict[str, Any] = {"s": 70, "facecolors": "none", "edgecolors": theme.GREEN, "linewidths": 1.6}
        axes.scatter(xs, ys, label=f"front ({len(front)})", zorder=4, **ring)
        for trial in full:
            if trial.number == champion:
                star: dict[str, Any] = {"marker": "*", "s": 220, "color": theme.INK, "edgecolors": theme.PAPER}
                axes.scatter(*place(trial), label=f"chosen: trial {champion}", zorder=5, **star)
        for side, objective, index in (("x", second, 0), ("y", first, 1)):
            values = [place(t)[index] for t in full]
            theme.spread_axis(axes, side, values)
            theme.label_axis(axes, side, objective.metric, "validation " if side == "y" else "")
            _limit(axes, side, objective, values)
        theme.finish(figure)
    names = f"Validation {words.plain(first.metric)} against {words.plain(second.metric)}"
    return Drawn("trade-off", figure, f"{names}: {len(front)} of {len(full):,} candidates are on the front.")


def rungs(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Drawn | None:
    """Draw the first objective at each fidelity against that at the next one, of architectures that have both.

    How far the cheap figures rank as the dear ones do is told by Spearman's coefficient. Strategies promote the best
    only, among whom ranks differ by less: over all architectures it would be higher.
    """
    first = objectives[0]
    found: dict[float, dict[Architecture, float]] = {}
    for trial in trials:
        if trial.status is Status.OK and not trial.origin and first.metric in (trial.metrics or {}):
            figure = order.value(trial.metrics or {}, first)
            found.setdefault(trial.fidelity, {})[trial.architecture] = figure
    pairs = [
        (low, high, [(found[low][a], found[high][a]) for a in found[high] if a in found[low]])
        for low, high in pairwise(sorted(found))
    ]
    enough = [pair for pair in pairs if len(pair[2]) >= _ENOUGH][-3:]
    if not enough:
        return None
    told = []
    with theme.style():
        drawn = theme.figure(3.3, width=max(5.4, 3 * len(enough)))
        for axes, (low, high, points) in zip(drawn.subplots(1, len(enough), squeeze=False)[0], enough, strict=True):
            xs, ys = zip(*points, strict=True)
            style: dict[str, Any] = {"s": 26 if len(points) < 200 else 12, "edgecolors": theme.PAPER, "linewidths": 0.5}
            axes.scatter(xs, ys, color=theme.BLUE, **style)
            coefficient = _spearman(xs, ys)
            axes.set_title(f"ρ = {coefficient}, n = {len(points):,}")
            theme.label_axis(axes, "x", first.metric, f"at {_share(low)}: ")
            theme.label_axis(axes, "y", first.metric, f"at {_share(high)}: ")
            told.append(f"from {_share(low)} to {_share(high)} {coefficient} ({len(points):,} architectures)")
        theme.finish(drawn)
    what = f"Rank correlation (Spearman) of validation {words.plain(first.metric)} between shares of training"
    return Drawn("rungs", drawn, f"{what}, among what was promoted: {'; '.join(told)}.")


def _spearman(xs: Sequence[float], ys: Sequence[float]) -> str:
    """Return Spearman's rank correlation with two digits; a dash where all of a side are equal."""
    if len(set(xs)) == 1 or len(set(ys)) == 1:
        return "–"
    from scipy.stats import spearmanr

    return f"{spearmanr(xs, ys).statistic:.2f}".replace("-", "\N{MINUS SIGN}")


def _share(fidelity: float) -> str:
    return f"{100 * fidelity:.2g} %" if fidelity < 1 else "100 %"


def _best_so_far(ended: Sequence[Trial], objectives: Sequence[Objective]) -> list[tuple[int, float]]:
    """Return (place from 1, value of the first objective) wherever a trial is better than all before."""
    best: Trial | None = None
    steps = []
    for place, trial in enumerate(ended, start=1):
        better = order.best([t for t in (best, trial) if t is not None and t.fidelity == 1.0], objectives)
        if better is not None and better is not best:
            best = better
            steps.append((place, order.value(best.metrics or {}, objectives[0])))
    return steps


def _kind(trial: Trial, objectives: Sequence[Objective]) -> str:
    if trial.status is Status.PRUNED:
        return "pruned"
    if trial.fidelity < 1:
        return "partly trained"
    return "beyond a limit" if order.violation(trial.metrics or {}, objectives) else "evaluated"


def _mark(
    axes: Axes, trials: Sequence[Trial], objectives: Sequence[Objective], place: Callable[[Trial], tuple[float, float]]
) -> None:
    size = 26 if len(trials) < 200 else 12
    for kind, (marker, colour) in _KINDS.items():
        points = [place(trial) for trial in trials if _kind(trial, objectives) == kind]
        if points:
            style: dict[str, Any] = {"marker": marker, "s": size, "color": colour, "edgecolors": theme.PAPER}
            axes.scatter(*zip(*points, strict=True), label=f"{kind} ({len(points)})", linewidths=0.5, **style)


def _limit(axes: Axes, side: str, objective: Objective, values: Sequence[float]) -> None:
    """Draw the objective's limit, unless it is so far from all `values` that they could not be told apart."""
    limit = objective.limit
    if limit is None or not values:
        return
    low, high = min(values), max(values)
    if low - (high - low) <= limit <= high + (high - low):
        line = axes.axhline if side == "y" else axes.axvline
        style: dict[str, Any] = {"color": theme.ORANGE, "linestyle": (0, (5, 3)), "linewidth": 1.2}
        line(limit, label=f"limit of {words.plain(objective.metric)}", **style)


def _with_cost(trial: Trial) -> Trial:
    return replace(trial, metrics={"cost_seconds": trial.cost_seconds, **(trial.metrics or {})})


def _stand_in(trials: Sequence[Trial]) -> Objective:
    sized = all("params" in (trial.metrics or {}) for trial in trials)
    return Objective(metric="params" if sized else "cost_seconds", goal="min")
