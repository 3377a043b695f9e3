"""One architecture trained on several samples of the rows: the mean of its metrics, and how sure that is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, variance

import numpy as np
import torch

from nas_core.estimators.fitting import Fitting
from nas_core.interfaces import Task

GROUPS = 20
"""Of validation rows, each left out once."""


class Resampled:
    """Trainings of one architecture, side by side, each on a sample and with a seed of its own.

    A metric is the mean over them. `<metric>_se` is its standard error as an estimate of what the architecture comes to
    on samples of this size, on average, and on all rows like the validation rows. Two errors add up: that of the
    samples and seeds, by the variance between trainings, and that of the validation rows, by a jackknife. How much
    better it would be on more data, neither tells.
    """

    def __init__(self, members: Sequence[Fitting], task: Task) -> None:
        self._members = members
        self._task = task
        self.curve: list[dict[str, float]] = []

    def advance(self) -> dict[str, float]:
        """Train all for one epoch and return the means and standard errors; FloatingPointError if one diverges."""
        found = [member.advance() for member in self._members]
        metrics = {name: fmean(each[name] for each in found) for name in found[0] if all(name in f for f in found)}
        rows = jackknife(self._task, [member.seen for member in self._members])
        for name, error in rows.items():
            between = variance([each[name] for each in found]) / len(found)
            metrics[f"{name}_se"] = math.sqrt(between + error)
        self.curve.append(metrics)
        return metrics

    def save(self, folder: Path) -> None:
        """Write each training to a folder of its own, and last `state.json`."""
        for index, member in enumerate(self._members):
            (folder / str(index)).mkdir()
            member.save(folder / str(index))
        (folder / "state.json").write_text(json.dumps({"curve": self.curve}), encoding="utf-8")

    def load(self, folder: Path, most: int) -> bool:
        """Go on from what `save` wrote; see `Fitting.load`."""
        if not all(
            (folder / str(index)).is_dir() and member.load(folder / str(index), most)
            for index, member in enumerate(self._members)
        ):
            return False
        self.curve = json.loads((folder / "state.json").read_text(encoding="utf-8"))["curve"]
        return True

    def start_from(self, folder: Path) -> bool:
        """Begin with the weights that `save` wrote; see `Fitting.start_from`."""
        return all(
            (folder / str(index)).is_dir() and member.start_from(folder / str(index))
            for index, member in enumerate(self._members)
        )


Seen = tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]
"""Outputs for all validation rows, and the targets."""


def jackknife(task: Task, seen: Sequence[Seen]) -> dict[str, float]:
    """Return the variance of each metric, averaged over `seen`, that comes of the rows it was measured on.

    The delete-a-group jackknife (Efron and Tibshirani 1993, section 11): the rows are divided at random into `GROUPS`,
    or as many as there are rows, and the metrics computed without each. It takes any metric that changes little when a
    few rows go. A metric that is not there without one of the groups is left out.
    """
    rows = len(seen[0][1][0])
    groups = min(GROUPS, rows)
    group = torch.from_numpy(np.random.default_rng(0).permutation(rows) % groups)
    without = []
    for left_out in range(groups):
        kept = group != left_out
        each = [
            task.metrics(tuple(o[kept] for o in outputs), tuple(t[kept] for t in targets)) for outputs, targets in seen
        ]
        without.append({name: fmean(m[name] for m in each) for name in each[0] if all(name in m for m in each)})
    names = [name for name in without[0] if all(name in metrics for metrics in without)]
    scale = (groups - 1) ** 2 / groups
    return {name: scale * variance([metrics[name] for metrics in without]) for name in names}
