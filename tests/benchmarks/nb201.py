"""How soon does a strategy find the best architecture of a benchmark table?

    python tests/benchmarks/nb201.py --table nb201.npz --dataset cifar10 --strategy random --budget 200 --seeds 20

Takes NAS-Bench-201's table, or any in the form of `nas_core.tables`. A seed is a search of its own, in a process of its
own; an evaluation is a look into the table. Writes JSON: evaluations until the optimum (the best row by the metric that
is searched by), regret and test figures of the best seen so far, and seconds per proposal.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import peers
from rich.console import Console
from rich.progress import Progress
from searches import Player, Problem, StrategyPlayer, as_priors, play, record, spread, summary

from components.parts import resolve
from components.spec import Part
from nas_core.errors import EvernasError
from nas_core.types import Trial

PAPER_SECONDS = 12_000
"""What a search may spend in NAS-Bench-201's own comparison (Dong and Yang 2020, Table 5)."""

PAPER_FIDELITY = 12 / 200


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, help="the table (.npz)")
    parser.add_argument("--dataset", required=True, help="one of the table's data sets")
    parser.add_argument("--strategy", required=True, help="any registered strategy")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the strategy")
    parser.add_argument("--budget", type=positive, default=100, help="evaluations per seed (100)")
    parser.add_argument("--seeds", type=positive, default=10, help="how many seeds (10)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--batch", type=positive, default=1, help="how many proposals at once (1)")
    parser.add_argument("--prior", action="append", default=[], metavar="DATASET", help="search this data set first")
    parser.add_argument("--prior-trials", type=positive, default=50, help="trials of that search (50)")
    parser.add_argument("--metric", default="accuracy", help="what to search by (accuracy: on validation rows)")
    parser.add_argument("--test-metric", default="test_accuracy", help="what to judge by (test_accuracy)")
    parser.add_argument("--goal", choices=("max", "min"), default="max", help="which values of the metric are better")
    parser.add_argument(
        "--protocol", choices=("optimum", "paper"), default="optimum", help="paper: NAS-Bench-201's own"
    )
    parser.add_argument("--plain", action="store_true", help="say nothing of twins and operations to the strategy")
    parser.add_argument("--until-found", action="store_true", help="end a seed at the optimum: quicker, same figures")
    parser.add_argument("--compare", action="store_true", help="let other libraries' searches play as well")
    parser.add_argument("--peers", nargs="+", choices=peers.NAMES, default=peers.NAMES, help="which of them (all)")
    parser.add_argument("--peer-seeds", type=positive, help="how many seeds of these (as many as of ours)")
    parser.add_argument("--json", type=Path, help="where to write the figures (else printed)")
    return parser.parse_args(argv)


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, got {value}")
    return value


def part(given: argparse.Namespace) -> Part:
    """Return the strategy and its options; the value of an option `key=value` is JSON, or else text."""
    options: dict[str, Any] = {}
    for text in given.option:
        name, _, value = text.partition("=")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return Part(**{**options, "kind": given.strategy})


# ---------------------------------------------------------------- one seed


problem = cache(Problem)
"""A table is read once a process."""


def problem_of(given: argparse.Namespace, dataset: str) -> Problem:
    fidelity = PAPER_FIDELITY if given.protocol == "paper" else 1.0
    names = (dataset, given.metric, given.test_metric, given.goal)
    return problem(given.table, *names, fidelity=fidelity, plain=given.plain)


def judged(given: argparse.Namespace, on: Problem, by: Player) -> dict[str, Any]:
    seconds = PAPER_SECONDS if given.protocol == "paper" else math.inf
    run = play(on, by, given.budget, given.batch, seconds=seconds, until_found=given.until_found)
    return record(on, run, given.budget)


def player_of(given: argparse.Namespace, on: Problem, seed: int, priors: Sequence[Trial] = ()) -> StrategyPlayer:
    factory, options = resolve("strategies", part(given))
    return StrategyPlayer(factory(on.space, [on.objective], seed, **options), priors)


def search(given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return what the strategy came to with this seed."""
    priors: list[Trial] = []
    for dataset in given.prior:
        before = problem_of(given, dataset)
        earlier = player_of(given, before, seed)
        play(before, earlier, given.prior_trials)
        priors += as_priors(earlier.history, dataset, first=len(priors))
    now = problem_of(given, given.dataset)
    return judged(given, now, player_of(given, now, seed, priors))


def search_by(peer: str, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return what a peer came to with this seed."""
    now = problem_of(given, given.dataset)
    with peers.player(peer, now, seed) as other:
        return judged(given, now, other)


# ---------------------------------------------------------------- all seeds


def each_seed(work: Callable[[int], dict[str, Any]], first: int, seeds: int, title: str) -> list[dict[str, Any]]:
    """Do `work` for every seed, as many at once as there are cores, with one thread each."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    workers = min(len(os.sched_getaffinity(0)), seeds)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool, Progress(console=Console(stderr=True)) as bar:
        return list(bar.track(pool.map(work, range(first, first + seeds)), total=seeds, description=title))


def figures(records: Sequence[dict[str, Any]], given: argparse.Namespace) -> dict[str, Any]:
    if given.protocol == "paper":
        evaluations = [float(len(each["seconds"])) for each in records]
        return {"test_accuracy": spread([each["final"] for each in records]), "evaluations": spread(evaluations)}
    return summary(records, given.budget)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of the strategy, the settings that they were got with, and the peers' figures if asked for."""
    for dataset in (given.dataset, *given.prior):
        player_of(given, problem_of(given, dataset), given.first_seed)
    settings = {name: value for name, value in vars(given).items() if name != "json"}
    records = each_seed(partial(search, given), given.first_seed, given.seeds, given.strategy)
    result = {"settings": settings, **figures(records, given)}
    if given.compare:
        result["peers"] = {name: compared(name, given) for name in given.peers}
    return result


def compared(peer: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of a peer, or why there are none."""
    if reason := peers.obstacle(peer):
        return {"skipped": reason}
    seeds = given.peer_seeds or given.seeds
    return {"seeds": seeds, **figures(each_seed(partial(search_by, peer, given), given.first_seed, seeds, peer), given)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 for bad input."""
    given = arguments(argv)
    try:
        text = json.dumps(run(given), indent=2) + "\n"
    except EvernasError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if given.json:
        given.json.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
