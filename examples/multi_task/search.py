"""One network for clothes and spoken digits, searched as a whole, beside one searched for each; see README.md."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from data import Data, digits, fashion

from nas_core import registry
from nas_core.errors import EvernasError, InputError
from nas_core.estimators.cost import cost
from nas_core.estimators.fitting import predict
from nas_core.interfaces import SearchSpace, Task
from nas_core.objectives import best, pareto_front
from nas_core.searching import search
from nas_core.space import describe
from nas_core.types import Budget, Objective, Signature, Trial

TRUNK: dict[str, Any] = {
    "stages": 2,
    "widths": (16, 24, 32),
    "growth": 1.5,
    "depths": (1, 2),
    "expansions": (2, 4),
    "blocks": ("separable", "inverted", "residual"),
    "activations": ("relu",),
    "strides": (2, 2, 1),
}
"""What all three searches choose from."""

RECIPE = {"batch_size": 32, "learning_rate": 0.01}

EXAMPLE = "example:  python examples/multi_task/search.py --fashion fashion.npz --digits digits.npz --json result.json"


class Preset(NamedTuple):
    """How much is spent: clothes to train on, trials a search, epochs a trial, epochs and seeds of the winner."""

    rows: int
    trials: int
    epochs: int
    final_epochs: int
    seeds: int


PRESETS = {"full": Preset(1200, 16, 3, 10, 2), "small": Preset(200, 2, 1, 1, 1)}


class Problem(NamedTuple):
    """What to search in, what to learn, the metric of each task, and epochs that make up one of the clothes'."""

    space: SearchSpace
    task: Task
    metrics: dict[str, str]
    rounds: int


def together(tasks: Sequence[Data]) -> Problem:
    """Return the problem of learning all `tasks` with one trunk."""
    signature = Signature(inputs=tuple(t.image for t in tasks), outputs=tuple(t.answer for t in tasks))
    splits = {
        split: (tuple(t.splits[split][0] for t in tasks), tuple(t.splits[split][1] for t in tasks))
        for split in tasks[0].splits
    }
    space = registry.load("spaces", "multi-task")(signature, **TRUNK, head_depths=(0, 1), head_widths=(32, 64))
    task = registry.load("tasks", "multi-task")(signature, splits)
    return Problem(space, task, {t.name: f"accuracy/{t.name}" for t in tasks}, rounds=1)


def alone(data: Data, rows: int) -> Problem:
    """Return the problem of learning one task, with as many steps as `rows` rows give."""
    signature = Signature(inputs=(data.image,), outputs=(data.answer,))
    splits = {split: ((images,), labels) for split, (images, labels) in data.splits.items()}
    space = registry.load("spaces", "hierarchical")(signature, **TRUNK, head_width=64)
    task = registry.load("tasks", "image")(signature, splits, shift=0.0)
    return Problem(space, task, {data.name: "accuracy"}, rounds=max(1, round(rows / task.rows("train"))))


def solve(problem: Problem, preset: Preset, strategy: str, seed: int, limit: int) -> dict[str, Any]:
    """Search for networks of at most `limit` parameters, train the one best on validation anew, and test it."""
    space, task, metrics, rounds = problem
    size = Objective(metric="params", goal="min", limit=limit)
    objectives = [*(Objective(metric=metric, goal="max") for metric in metrics.values()), size]
    factory = registry.load("strategies", strategy)
    # With a population as large as the budget, evolution is random search.
    population = {o.name: max(2, preset.trials // 4) for o in registry.options(factory) if o.name == "population"}
    training = registry.load("estimators", "training")
    start = time.perf_counter()
    study = search(
        space,
        factory(space, objectives, seed, **population),
        training(space, task, seed, epochs=preset.epochs * rounds, **RECIPE),
        objectives,
        Budget(trials=preset.trials),
        on_trial=lambda trial: print(_line(trial, metrics), flush=True),
    )
    seconds = time.perf_counter() - start
    winner = best(study.history, [Objective(metric="accuracy", goal="max"), size])
    if winner is None:
        raise InputError(f"--limit: none of {len(study.history)} networks keeps within {limit} parameters; raise it")
    tested: list[dict[str, float]] = []
    for each in range(seed, seed + preset.seeds):
        final = training(space, task, each, epochs=preset.final_epochs * rounds, **RECIPE)
        network, _ = final.train(winner.architecture)
        tested.append(task.metrics(*predict(network, task, "test", torch.device("cpu"))))
    return {
        "test": {name: [found[metric] for found in tested] for name, metric in metrics.items()},
        **cost(network, task, "train"),
        "search_seconds": seconds,
        "front": len(pareto_front(study.history, objectives)),
        "architecture": describe(space, winner.architecture),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    preset = PRESETS[options.preset]
    tasks = [fashion(options.fashion, preset.rows), digits(options.digits)]
    problems = {"one trunk": (together(tasks), options.limit)}
    problems |= {f"{data.name} alone": (alone(data, preset.rows), options.limit // 2) for data in tasks}
    results = {}
    for name, (problem, limit) in problems.items():
        print(f"\n{name}: at most {limit} parameters")
        results[name] = solve(problem, preset, options.strategy, options.seed, limit)
    print(_table(results))
    if options.json:
        result = {"preset": options.preset, "strategy": options.strategy, "seed": options.seed, **results}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], epilog=EXAMPLE)
    parser.add_argument("--fashion", type=Path, required=True, help="Fashion-MNIST as npz; see README.md")
    parser.add_argument("--digits", type=Path, required=True, help="clips of spoken digits as npz; see README.md")
    parser.add_argument("--preset", choices=PRESETS, default="full", help="how much to spend (default: full)")
    parser.add_argument(
        "--strategy", choices=registry.names("strategies"), default="nsga2", help="how to search (default: nsga2)"
    )
    parser.add_argument("--limit", type=int, default=60_000, help="parameters in all (default: 60000)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same searches (default: 0)")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    return parser


def _line(trial: Trial, metrics: dict[str, str]) -> str:
    if not trial.metrics:
        return f"{trial.number:4}  {trial.error or trial.status}"
    found = "  ".join(f"{name} {trial.metrics[metric]:.3f}" for name, metric in metrics.items())
    return f"{trial.number:4}  {found}  {trial.metrics['params']:7.0f} parameters"


def _table(results: dict[str, dict[str, Any]]) -> str:
    """Return the test accuracy of each network's tasks (mean over seeds), and what it costs."""
    lines = [f"\n{'network':14}{'fashion':>9}{'digit':>9}{'parameters':>12}{'MACs':>12}{'search':>10}"]
    for name, found in results.items():
        shares = [found["test"].get(task) for task in ("fashion", "digit")]
        cells = "".join(f"{sum(each) / len(each):9.3f}" if each else f"{'':9}" for each in shares)
        lines.append(f"{name:14}{cells}{found['params']:12.0f}{found['macs']:12.0f}{found['search_seconds']:8.0f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except EvernasError as error:
        raise SystemExit(f"error: {error}") from error
