"""What do stoppers save, and what do they lose, on real learning curves?

    python tests/benchmarks/curves.py --folder curves --json out.json

Trains random architectures in full, once: their curves are kept in the folder. Then each stopper meets them as a search
does, in an order drawn by the seed: a real study asks it about every report and writes its ledger, but a report is read
instead of trained. `epochs_saved` is the share of all epochs that were not needed; `accuracy_lost` is how far the best
trial that came to its end is behind the best of all, in points of validation accuracy. Also told is how well curves are
forecast, and how long a fit takes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from learning_curves import SPECS, Trained, figures, spec_text, trained
from rich.console import Console
from rich.table import Table

from nas_core import registry
from nas_core.curves import Forecast, extrapolate
from nas_core.curves.ensemble import basis
from nas_core.errors import EvernasError
from nas_core.interfaces import Rung, SearchSpace, Session, Stopper
from nas_core.ledger import Ledger
from nas_core.objectives import best
from nas_core.runner import LocalRunner
from nas_core.stoppers.curve import Curve
from nas_core.store import MemoryStore
from nas_core.study import LedgerStudy
from nas_core.types import Architecture, Budget, Decision, Metrics, Objective, Proposal, Status, Trial

METHODS = ("curve", "asha", "median")
SHARES = (0.2, 0.35, 0.5, 0.75)
"""Of an epoch's curve, from which its end is forecast."""


class Recorded:
    """A space, a strategy and an estimator in one: trials `0, 1 ...` are the recorded curves, in a given order."""

    def __init__(self, curves: Sequence[Trained], order: Sequence[int]) -> None:
        self.decisions = (Decision(name="curve", options=tuple(map(str, range(len(curves))))),)
        self._curves = curves
        self._order = order

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError("what is recorded is not trained again")

    def propose(self, history: Sequence[Trial], n: int) -> list[Proposal]:
        return [Proposal(architecture=(int(i),)) for i in self._order[len(history) : len(history) + n]]

    def estimate(self, trial: Trial, session: Session) -> Metrics:
        curve = self._curves[trial.architecture[0]].curve
        for step, metrics in enumerate(curve, start=1):
            if session.report(step, metrics):
                return metrics
        return curve[-1]


def replayed(curves: Sequence[Trained], seed: int, objectives: Sequence[Objective], stopper: Stopper) -> list[Trial]:
    """Return the trials of a search through all `curves` with `stopper`, in the order of `seed`."""
    recorded = Recorded(curves, np.random.default_rng(seed).permutation(len(curves)).tolist())
    space: SearchSpace = recorded
    study = LedgerStudy(Ledger(MemoryStore()), space, objectives, recorded, stopper=stopper)
    LocalRunner().run(study, [Rung(1.0, recorded)], Budget(trials=len(curves)))
    return list(study.history)


def outcome(trials: Sequence[Trial], curves: Sequence[Trained], objectives: Sequence[Objective]) -> dict[str, float]:
    """Return `epochs_saved`, a share, and `accuracy_lost`, in points."""
    first = objectives[0].metric
    found = best(trials, objectives)
    reached = max(each.curve[-1][first] for each in curves)
    epochs = sum(len(each.curve) for each in curves)
    return {
        "epochs_saved": 1 - sum(len(trial.curve) for trial in trials) / epochs,
        "accuracy_lost": 100 * (reached - (found.metrics or {})[first]) if found else 100 * reached,
    }


def methods(curves: Sequence[Trained], seeds: int) -> dict[str, Any]:
    """Return for each stopper its figures: means over seeds, the worst loss, and the least saving."""
    objectives = (Objective(metric="accuracy", goal="max"),)
    told: dict[str, Any] = {}
    for name in METHODS:
        runs = []
        for seed in range(seeds):
            stopper: Stopper = registry.load("stoppers", name)(objectives)
            runs.append(outcome(replayed(curves, seed, objectives, stopper), curves, objectives))
        saved, lost = ([run[key] for run in runs] for key in ("epochs_saved", "accuracy_lost"))
        told[name] = {
            "epochs_saved": float(np.mean(saved)),
            "accuracy_lost": float(np.mean(lost)),
            "least_saved": min(saved),
            "most_lost": max(lost),
        }
    return told


def forecasts(curves: Sequence[Trained]) -> dict[str, dict[str, float]]:
    """Return, for forecasts of the last accuracy from a share of the epochs, how far off and how sure they are.

    `coverage` is the share of curves that end within the central 90 % of their forecast; `corrected` the same of the
    stopper's forecast, which all other curves have corrected.
    """
    accuracy = figures(curves, "accuracy")
    last = accuracy.shape[1]
    trials = [finished(number, each) for number, each in enumerate(curves)]
    stopper = Curve([Objective(metric="accuracy", goal="max")])
    told = {}
    for seen in sorted({max(2, round(share * last)) for share in SHARES}):
        made = [extrapolate(range(1, seen + 1), curve[:seen], last) for curve in accuracy]
        better = [stopper.forecast(t, [o for o in trials if o is not t], seen, last) for t in trials]
        errors = np.array([forecast.mean for forecast in made]) - accuracy[:, -1]
        told[str(seen)] = {
            "rmse": float(np.sqrt((errors**2).mean())),
            "sd": float(np.mean([forecast.sd for forecast in made])),
            "coverage": held(made, accuracy[:, -1]),
            "corrected": held(better, accuracy[:, -1]),
        }
    return told


def finished(number: int, each: Trained) -> Trial:
    """Return the trial that a training in full is."""
    curve = tuple(enumerate(each.curve, start=1))
    return Trial(number=number, architecture=(number,), status=Status.OK, curve=curve, metrics=each.curve[-1])


def held(made: Sequence[Forecast], ends: Sequence[float] | np.ndarray) -> float:
    """Return the share of `ends` within the central 90 % of their forecasts."""
    return float(np.mean([0.05 < forecast.above(end) < 0.95 for forecast, end in zip(made, ends, strict=True)]))


def fit_milliseconds(lengths: Sequence[int] = (10, 50, 100), repeats: int = 50) -> dict[str, dict[str, float]]:
    """Return the CPU time of a fit by the length of the curve: of the first at such steps, and the median of others."""
    told = {}
    rng = np.random.default_rng(0)
    for length in lengths:
        basis.cache_clear()
        took = []
        for _ in range(repeats + 1):
            curve = 0.9 - 0.4 * np.arange(1, length + 1) ** -0.7 + 0.005 * rng.standard_normal(length)
            began = time.process_time()
            extrapolate(range(1, length + 1), curve.tolist(), 2 * length)
            took.append(1000 * (time.process_time() - began))
        told[str(length)] = {"first": took[0], "median": float(np.median(took[1:]))}
    return told


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of every data set asked for."""
    told: dict[str, Any] = {}
    for name in given.data:
        curves = trained(spec_text(name, trials=given.trials, epochs=given.epochs), given.folder)
        if len(curves) < 2:
            raise EvernasError(f"{name}: {len(curves)} curves came out; train more")
        told[name] = {
            "curves": len(curves),
            "epochs": len(curves[0].curve),
            "methods": methods(curves, given.seeds),
            "forecasts": forecasts(curves),
        }
    return {"data": told, "seeds": given.seeds, "fit_ms": fit_milliseconds()}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where curves are kept, and found the next time")
    parser.add_argument("--data", nargs="+", choices=list(SPECS), default=list(SPECS), help="what to train on (all)")
    parser.add_argument("--trials", type=int, help="architectures (60)")
    parser.add_argument("--epochs", type=int, help="epochs of each (20)")
    parser.add_argument("--seeds", type=int, default=10, help="orders to meet them in (10)")
    parser.add_argument("--json", type=Path, nargs="?", const=Path("-"), help="write JSON, to a file if named")
    return parser.parse_args(argv)


def show(told: dict[str, Any]) -> None:
    table = Table("data", "stopper", "epochs saved", "points lost, mean", "most")
    for name, of in told["data"].items():
        for method, row in of["methods"].items():
            lost = (f"{row['accuracy_lost']:.2f}", f"{row['most_lost']:.2f}")
            table.add_row(name, method, f"{row['epochs_saved']:.1%}", *lost)
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or another code where the search's own errors have one."""
    given = arguments(argv)
    try:
        told = run(given)
    except EvernasError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if given.json is None:
        show(told)
    elif given.json == Path("-"):
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        given.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
