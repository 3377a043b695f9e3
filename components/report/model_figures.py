"""The figures of the final model: how it learned, how good it is, and whom it errs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from components.report import theme, words
from components.report.theme import Drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RATES = {
    "demographic_parity": (("selection_rate", "selection rate"),),
    "equalized_odds": (("tpr", "true positive rate"), ("fpr", "false positive rate")),
    "accuracy": (("accuracy", "accuracy"),),
}
"""The rates that a fairness metric compares: key in the audit's record, name."""

_MOST_GROUPS = 40


def fairness(audit: Mapping[str, Any]) -> Drawn | None:
    """Draw the rates that the audit compares, a dot and a Wilson interval per group that is large enough to judge.

    `audit` is what `fairness.json` holds. Of an attribute with very many groups the largest are drawn.
    """
    attributes = {name: _largest(each["groups"]) for name, each in audit["attributes"].items()}
    attributes = {name: groups for name, groups in attributes.items() if groups}
    if not attributes:
        return None
    rates, level = _RATES[audit["metric"]], audit["confidence"]
    heights = [len(groups) + 0.4 for groups in attributes.values()]
    with theme.style():
        figure = theme.figure(0.6 + sum(0.24 * height + 0.5 for height in heights))
        panels = figure.subplots(len(attributes), len(rates), sharex="col", squeeze=False, height_ratios=heights)
        for row, (name, groups) in zip(panels, attributes.items(), strict=True):
            for axes, (rate, _) in zip(row, rates, strict=True):
                _dots(axes, groups, rate, level)
            row[0].set_yticks(range(len(groups)), [f"{g['group']}  (n = {g['n']:,})" for g in groups])
            row[0].set_title(f"{name}: {audit['attributes'][name]['verdict']}")
        for above, below, (_, label) in zip(panels[0], panels[-1], rates, strict=True):
            above.xaxis.set_label_position("top")
            above.set_xlabel(f"{label} (%)")
            if above is not below:
                below.set_xlabel(f"{label} (%)")
        theme.finish(figure)
    names = " and ".join(label for _, label in rates)
    return Drawn("fairness", figure, f"{names.capitalize()} by group, with intervals; the table has the figures.")


def _largest(groups: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    judged = [group for group in groups if group["judged"]]
    largest = sorted(judged, key=lambda group: -group["n"])[:_MOST_GROUPS]
    return [group for group in judged if group in largest]


def _dots(axes: Axes, groups: Sequence[Mapping[str, Any]], rate: str, level: float) -> None:
    for place, group in enumerate(groups):
        low, high = wilson(group[rate], _rows_of(group, rate), level)
        axes.plot([100 * low, 100 * high], [place, place], color=theme.BLUE, linewidth=1.6, solid_capstyle="butt")
        axes.plot([100 * group[rate]], [place], marker="o", markersize=6, color=theme.BLUE)
    axes.set_yticks(range(len(groups)), [""] * len(groups))
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.tick_params(labelbottom=True)
    axes.margins(x=0.04)


def _rows_of(group: Mapping[str, Any], rate: str) -> int:
    """Return of how many rows `rate` is a share."""
    rows = {"tpr": group["positives"], "fpr": group["n"] - (group["positives"] or 0)}
    return int(rows.get(rate, group["n"]))


def wilson(share: float, rows: int, level: float) -> tuple[float, float]:
    """Return the interval of a share of `rows` > 0 rows at the confidence `level` (Wilson 1927)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = share + z * z / (2 * rows)
    spread = z * sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def accuracy(retrain: Mapping[str, Any]) -> Drawn:
    """Draw the test accuracy of all seeds, their mean with one standard deviation, and the baseline's."""
    found, baseline = retrain["test_accuracy"], retrain["baseline"]
    with theme.style():
        figure = theme.figure(1.5)
        axes = figure.subplots()
        points = [100 * value for value in found["seeds"]]
        mean, std = 100 * found["mean"], 100 * found["std"]
        axes.errorbar([mean], [0], xerr=[std], color=theme.INK, marker="|", markersize=16, capsize=4, zorder=2)
        axes.scatter(points, [0] * len(points), s=44, color=theme.BLUE, edgecolors=theme.PAPER, zorder=3)
        axes.scatter([100 * baseline["test_accuracy"]], [1], s=52, marker="D", color=theme.ORANGE)
        axes.set_yticks([0, 1], ["the network", baseline["name"]])
        axes.set_ylim(1.6, -0.6)
        axes.set_xlabel("test accuracy (%)")
        axes.margins(x=0.08)
        theme.finish(figure)
    title = f"Test accuracy {mean:.2f} %, {words.spread(found['std'], len(points))}; the bar is one standard deviation."
    return Drawn("accuracy", figure, title)


def learning(retrain: Mapping[str, Any], metric: str) -> Drawn | None:
    """Draw `metric` (and the loss, where it was recorded) on the validation rows by epoch, a line a seed."""
    seeds = retrain["seeds"]
    points = [figures for seed in seeds for _, figures in seed["curve"]]
    recorded = [name for name in dict.fromkeys((metric, "log_loss")) if points and all(name in p for p in points)]
    if not recorded:
        return None
    with theme.style():
        figure = theme.figure(2.9)
        for axes, name in zip(figure.subplots(1, len(recorded), squeeze=False)[0], recorded, strict=True):
            for index, seed in enumerate(seeds):
                chosen = index == retrain["best"]
                steps, values = zip(*((step, figures[name]) for step, figures in seed["curve"]), strict=True)
                colour, width = (theme.BLUE, 2.2) if chosen else (theme.GREY, 1.2)
                label = f"seed {seed['seed']}, best on validation" if chosen else "other seeds"
                line: dict[str, Any] = {"color": colour, "linewidth": width, "marker": "o", "markersize": 3}
                axes.plot(steps, values, label=label, zorder=2 + chosen, **line)
            theme.count_axis(axes, "epoch")
            theme.label_axis(axes, "y", name, "validation ")
        theme.finish(figure)
    return Drawn("learning", figure, f"Validation {words.plain(recorded[0])} of {len(seeds)} seeds by epoch.")
