"""How fast candidates are mirrored to MLflow, beside a bare loop with its client that logs the same.

Both write to SQLite files of their own, in turns of a few dozen candidates, so that whatever else the machine does
hits both. The bare loop creates a run with its tags, logs one batch, and ends the run.

    python tests/benchmarks/mirror_overhead.py --candidates 1000 --json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import components.backends  # noqa: F401  its settings have to be there before MLflow is imported
from components.backends.mirror import candidates as candidates_of
from components.backends.mlflow_records import Record, record
from components.backends.mlflow_tracking import Candidate, Tracker
from components.spec import TrackingSpec
from nas_core.ledger import Ledger
from nas_core.store import FolderStore
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.types import Architecture, Decision, Objective

_TURN = 25
_MOST_BARE = 1000
_DECISIONS = tuple(f"decision_{index}" for index in range(8))
_METRICS = tuple(f"metric_{index}" for index in range(9))
OBJECTIVES = (Objective(metric="metric_0", goal="max"),)


@dataclass(frozen=True)
class Overhead:
    """`ratio` is the mirror's rate by the bare loop's; `last_over_first` its rate at the end by that at the begin."""

    ratio: float
    last_over_first: float
    per_second: float


class Space:
    """Eight decisions; nobody builds them."""

    decisions = tuple(Decision(name=name, options=tuple("abcdef")) for name in _DECISIONS)

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


def names(architecture: Architecture) -> tuple[str, dict[str, str]]:
    """Name an architecture by its options."""
    options = ["abcdef"[option] for option in architecture]
    return "".join(options), dict(zip(_DECISIONS, options, strict=True))


def mirror_ratio(candidates: int = 1000) -> float:
    """Return the rate at which candidates are mirrored, by that of the bare loop; 1 is as fast."""
    return overhead(candidates).ratio


def overhead(candidates: int) -> Overhead:
    """Mirror a study of that many candidates and measure.

    The bare loop writes the first 1,000 of them. An eighth of them, at most 1,000, is begin and end: while the last
    ones are mirrored, the first ones are mirrored once more, in turns with them, into a database of their own.
    """
    with tempfile.TemporaryDirectory(prefix="evernas-") as folder:
        ledger = _ledger(Path(folder), candidates)
        tracker, bare, fresh = (_tracker(Path(folder) / side) for side in ("ours", "bare", "fresh"))
        home = bare.client.get_run(bare.parent).info.experiment_id
        feed = candidates_of(ledger.entries(), names)
        edge = max(_TURN, min(1000, candidates // 8))
        first: list[Candidate] = []
        ours = theirs = last = begin = spent = 0.0
        count = again = 0
        while turn := _timed(feed):
            reading, some = turn
            count += len(some)
            compared = count <= _MOST_BARE
            same = [record(candidate, "overhead-1", bare.parent) for candidate in some] if compared else []
            if count // _TURN % 2:
                theirs += _bare(bare.client, home, same)
            mirroring = reading + _mirrored(tracker, some)
            if not count // _TURN % 2:
                theirs += _bare(bare.client, home, same)
            spent += mirroring
            ours += mirroring if compared else 0.0
            first += some if count <= edge else []
            if count > candidates - edge:
                last += mirroring - reading
                begin += _mirrored(fresh, first[again : again + len(some)])
                again += len(some)
    return Overhead(theirs / ours, begin / last, candidates / spent)


def _tracker(root: Path) -> Tracker:
    """Return a tracker whose tables, experiment and parent are there before the clock runs."""
    root.mkdir()
    tracker = Tracker(TrackingSpec(), root, "overhead", "overhead-1")
    tracker.parent  # noqa: B018  making it is the point
    tracker.known()
    return tracker


def _timed(feed: Iterator[Candidate]) -> tuple[float, list[Candidate]] | None:
    """Return the next candidates with the time that it took to read them, which is the mirror's work too."""
    began = time.perf_counter()
    some = list(islice(feed, _TURN))
    return (time.perf_counter() - began, some) if some else None


def _mirrored(tracker: Tracker, turn: Sequence[Candidate]) -> float:
    began = time.perf_counter()
    for candidate in turn:
        tracker.mirror(candidate)
    return time.perf_counter() - began


def _bare(client: Any, home: str, turn: Sequence[Record]) -> float:
    from mlflow.entities import Metric, Param

    began = time.perf_counter()
    for each in turn:
        run = client.create_run(home, start_time=each.start, tags=each.tags, run_name=each.name)
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(*point) for point in each.points],
            params=[Param(name, value) for name, value in each.params.items()],
        )
        client.set_terminated(run.info.run_id, each.status, end_time=each.end)
    return time.perf_counter() - began


def _ledger(folder: Path, count: int) -> Ledger:
    """Return the ledger of a study of `count` candidates with ten metrics each, the cost among them."""
    ledger = Ledger(FolderStore(folder / "run"))
    study = LedgerStudy(ledger, Space(), OBJECTIVES, Random(Space(), OBJECTIVES, 0))
    while len(study.history) < count:
        trials = study.ask(min(64, count - len(study.history)))
        metrics = {name: index / 8 for index, name in enumerate(_METRICS)}
        study.tell_all([(trial.number, metrics, 0.25) for trial in trials])
    return ledger


def main() -> int:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--json", nargs="?", const="-", help="the figures as JSON, printed or to this file")
    given = parser.parse_args()
    found = overhead(given.candidates)
    if given.json:
        figures = {"mirror_ratio": found.ratio, "mirror_last_over_first": found.last_over_first}
        text = json.dumps({name: round(value, 3) for name, value in figures.items()}) + "\n"
        if given.json == "-":
            sys.stdout.write(text)
        else:
            Path(given.json).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(
            f"{found.per_second:.1f} candidates a second, {found.ratio:.2f} of the bare client's rate; "
            f"the last were mirrored at {found.last_over_first:.2f} of the rate of the first\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
