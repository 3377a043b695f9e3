"""What the runner costs beside plain Ray Tune, and whether a long record slows down.

    python tests/benchmarks/runner_overhead.py --json overhead.json
    python tests/benchmarks/runner_overhead.py --only noop ledger

noop      noop_ratio: no-op trials a second in the cheap lane, each on a durable ledger, over plain Tune's
training  training_ratio: trainings of about 2 s a second under our runner over a hand-written Tune loop of the same
ledger    ledger_last_over_first: a commit among the last 1,000 of 100,000 entries over one among the first, medians
mirror    mirror_ratio: as `mirror_overhead.py` measures it, if that is there

Both sides run warm, in one process, on one Ray with two places, one after the other in turns.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import components.backends  # noqa: F401  its settings have to be there before Ray is
from components.backends.signing import Ed25519Signer
from components.spec import RayRunnerSpec
from nas_core.interfaces import Rung, Session
from nas_core.ledger import Ledger
from nas_core.store import FolderStore
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.types import Budget, Decision, Metrics, Objective, Trial

OBJECTIVES = (Objective(metric="accuracy", goal="max"),)
PLACES = 2


class Space:
    """Architectures without end that nobody builds."""

    decisions = tuple(Decision(name=f"d{i}", options=tuple(map(str, range(100)))) for i in range(4))


class Noop:
    """Measures nothing, in chunks."""

    batch = 64

    def estimate_batch(self, trials: Sequence[Trial]) -> list[Metrics]:
        return [{"accuracy": 0.5}] * len(trials)


def train(report: Callable[[int, float], object], steps: int) -> float:
    """Train a small network for `steps` steps, with four reports; return its loss."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows, target = torch.randn(256, 64), torch.randn(256, 1)
    network = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    loss = torch.zeros(())
    for epoch in range(1, 5):
        for _ in range(steps // 4):
            optimiser.zero_grad()
            loss = torch.nn.functional.mse_loss(network(rows), target)
            loss.backward()
            optimiser.step()
        report(epoch, loss.item())
    return loss.item()


class Training:
    """Trains the same network for every architecture."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def estimate(self, _trial: Trial, session: Session) -> Metrics:
        return {"accuracy": train(lambda step, loss: session.report(step, {"accuracy": loss}), self.steps)}


def noop_ratio(trials: int = 6000, plain: int = 80, rounds: int = 3) -> dict[str, float]:
    """Return trials a second of both, and their ratio."""

    def nothing(_config: Mapping[str, Any]) -> None:
        from ray import tune

        tune.report({"accuracy": 0.5})

    ours, tunes = [], []
    with _ray():
        _ours(Noop(), 64 * PLACES)
        _plain(nothing, PLACES)
        for turn in range(rounds):
            ours.append(trials / _ours(Noop(), trials))
            tunes.append(plain / _plain(nothing, plain))
            _say(f"noop {turn + 1}/{rounds}: {ours[-1]:.0f} and {tunes[-1]:.1f} trials a second")
    return {
        "noop_ratio": median(ours) / median(tunes),
        "noop_trials_per_second": median(ours),
        "plain_tune_trials_per_second": median(tunes),
    }


def training_ratio(trials: int = 12, rounds: int = 3) -> dict[str, float]:
    """Return the median over `rounds` of our throughput over a plain loop's, the turns taken in changing order."""
    steps = _steps_of(2.0)

    def plain(_config: Mapping[str, Any]) -> None:
        from ray import tune

        train(lambda step, loss: tune.report({"step": step, "accuracy": loss}), steps)

    ratios = []
    with _ray():
        _ours(Training(40), PLACES)
        _plain(plain, PLACES)
        for turn in range(rounds):
            sides = [lambda: _ours(Training(steps), trials), lambda: _plain(plain, trials)]
            if turn % 2:
                second, first = (side() for side in reversed(sides))
            else:
                first, second = (side() for side in sides)
            ratios.append(second / first)
            _say(f"training {turn + 1}/{rounds}: {first:.2f} s and {second:.2f} s for {trials} trials")
    return {"training_ratio": median(ratios)}


def ledger_ratio(entries: int = 100_000, group: int = 10, window: int = 1000) -> dict[str, float]:
    """Return the median commit among the last `window` entries over that among the first.

    A disk has quicker and slower minutes, by more than what is asked about. So the first entries are those of a second
    record, begun when the long one has all but its last, and the two are written to in turns.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = Ed25519Signer(Ed25519PrivateKey.generate())
    with TemporaryDirectory(prefix="evernas-bench-") as one, TemporaryDirectory(prefix="evernas-bench-") as other:
        long, fresh = Ledger(FolderStore(Path(one)), signer), Ledger(FolderStore(Path(other)), signer)
        for first in range(0, entries - window, group):
            _commit(long, first, group)
            if first % 20_000 == 0:
                _say(f"ledger {first}/{entries}")
        pairs = [
            (_commit(long, entries - window + n, group), _commit(fresh, n, group)) for n in range(0, window, group)
        ]
    last, start = zip(*pairs, strict=True)
    return {"ledger_last_over_first": median(last) / median(start)}


def _commit(ledger: Ledger, first: int, count: int) -> float:
    """Commit `count` outcomes in one, as a search does; return the seconds."""
    data = {"status": "ok", "metrics": {"accuracy": 0.5, "params": 1e6}, "cost_seconds": 1.0}
    drafts = [("outcome", {"number": number, **data, "finished": number}) for number in range(first, first + count)]
    began = time.perf_counter()
    ledger.commit(drafts)
    return time.perf_counter() - began


def mirror_ratio() -> dict[str, float]:
    """Return what the mirror's benchmark measures; nothing if there is none."""
    try:
        module = importlib.import_module("tests.benchmarks.mirror_overhead")
    except ModuleNotFoundError as error:
        _say(f"mirror: left out, {error}")
        return {}
    found = module.mirror_ratio()
    return dict(found) if isinstance(found, Mapping) else {"mirror_ratio": float(found)}


PARTS: dict[str, Callable[..., dict[str, float]]] = {
    "noop": noop_ratio,
    "training": training_ratio,
    "ledger": ledger_ratio,
    "mirror": mirror_ratio,
}

QUICK = {
    "noop": {"trials": 640, "plain": 6, "rounds": 1},
    "training": {"trials": 2, "rounds": 1},
    "ledger": {"entries": 3000},
}


@contextmanager
def _ray() -> Iterator[None]:
    """Connect to a Ray of our own with a place for two trials at a time."""
    from components.backends.ray_cluster import connected

    with connected("local"):
        yield


def _ours(estimator: Any, trials: int) -> float:
    """Return the seconds of a search by our runner, its ledger on disk."""
    from components.backends.ray_tune import RayRunner

    with TemporaryDirectory(prefix="evernas-bench-") as folder:
        space, store = Space(), FolderStore(Path(folder))
        study = LedgerStudy(Ledger(store), space, OBJECTIVES, Random(space, OBJECTIVES, 0))
        spec = RayRunnerSpec(kind="ray", address="auto", max_concurrent=PLACES)
        began = time.perf_counter()
        RayRunner(spec, Path(folder), "bench").run(study, [Rung(1.0, estimator)], Budget(trials=trials))
        seconds = time.perf_counter() - began
        done = [trial.status for trial in study.history]
        if len(done) != trials or set(done) != {"ok"}:
            raise RuntimeError(f"expected {trials} ok, got {len(done)}: {set(done)}")
    return seconds


def _plain(function: Callable[[Mapping[str, Any]], None], trials: int) -> float:
    """Return the seconds of the same by hand, as quick as Tune can: processes are used again, nothing is logged."""
    from ray import tune

    with TemporaryDirectory(prefix="evernas-bench-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(function, {"cpu": 1}),
            tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=PLACES, reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        began = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - began
        if len(results) != trials or results.errors:
            raise RuntimeError(f"expected {trials} trials, got {len(results)} and {results.errors}")
    return seconds


def _steps_of(seconds: float) -> int:
    """Return how many steps of the training take about `seconds` here."""
    train(lambda *_: None, 400)
    began = time.perf_counter()
    train(lambda *_: None, 2000)
    return max(4, int(2000 * seconds / (time.perf_counter() - began)))


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


def main() -> None:
    """Measure what was asked for; figures to the file or standard output, progress to standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="measure these alone")
    parser.add_argument("--json", nargs="?", type=Path, help="write the figures here; without a path, print them")
    parser.add_argument("--quick", action="store_true", help="see that it runs: too small to mean anything")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    for part in given.only:
        sizes = QUICK.get(part, {}) if given.quick else {}
        figures |= {name: round(value, 4) for name, value in PARTS[part](**sizes).items()}
    text = json.dumps(figures, indent=1)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")
    else:
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
