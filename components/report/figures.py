"""All figures of a cycle, on the page as SVG and beside it as PNG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.report import model_figures, search_figures, theme
from components.report.cycle import Cycle
from components.report.theme import Drawn
from nas_core.store import FolderStore
from nas_core.types import Objective


def draw(cycle: Cycle, objectives: Sequence[Objective], audit: Mapping[str, Any] | None) -> list[Drawn]:
    """Return the figures that `cycle` has come far enough for; `audit` is what `fairness.json` holds, if any."""
    trials, retrain = cycle.history.trials, cycle.result("retrain")
    found = [
        search_figures.anytime(trials, objectives),
        search_figures.trade_off(trials, objectives, cycle.result("search").get("trial")),
        search_figures.rungs(trials, objectives),
    ]
    if retrain:
        found += [model_figures.accuracy(retrain), model_figures.learning(retrain, objectives[0].metric)]
    if audit:
        found.append(model_figures.fairness(audit))
    return [figure for figure in found if figure]


def save_figures(figures: Iterable[Drawn], out: Path) -> list[Path]:
    """Write each figure to `out/<name>.png`, in one step each, and return the paths."""
    store, paths = FolderStore(out), []
    for drawn in figures:
        store.replace(f"{drawn.name}.png", theme.png(drawn))
        paths.append(out / f"{drawn.name}.png")
    return paths
