"""The process that runs the search is killed, at any moment, and another one goes on."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from nas_core.store import FolderStore
from tests.chaos.driver import OBJECTIVES, SIGNER, TRIALS, search
from tests.chaos.judge import Verdict, epochs_trained, judge, same

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.chaos.driver"])


def driver_killed(folder: Path, seed: int, runs: int = 50, say: Callable[[str], None] = lambda _: None) -> Verdict:
    """Kill the driver of `runs` searches, each at a random moment, resume each, and compare with one left in peace.

    A moment is a number of commits, and a little more, so that kills fall on proposals, reports, checkpoints and
    outcomes alike; every fifth search is killed three times.
    """
    total = Verdict("driver killed")
    peace = folder / "peace"
    _wait(_start(peace))
    commits = _commits(peace)
    rng = random.Random(seed)
    for run in range(runs):
        hurt, kills = folder / f"hurt-{run}", 3 if run % 5 == 4 else 1
        for _ in range(kills):
            _kill_at(hurt, rng.randrange(commits), rng.random() * 0.02)
        _wait(_start(hurt))
        verdict = judge(total.name, FolderStore(hurt), TRIALS, key=SIGNER.fingerprint)
        # A kill may cost the epoch that was being trained, and no other.
        spare = epochs_trained(peace / "epochs.log") + kills
        verdict.duplicated += max(0, epochs_trained(hurt / "epochs.log") - spare)
        if not verdict.invalid:
            alike = same(FolderStore(hurt), FolderStore(peace), OBJECTIVES)
            verdict.lost += not alike
        total.add(verdict)
        say(f"{run + 1}/{runs}")
    return total


def _start(folder: Path) -> BaseProcess:
    process = _CONTEXT.Process(target=search, args=(folder,))
    process.start()
    return process


def _wait(process: BaseProcess) -> None:
    process.join(300)
    if process.exitcode != 0:
        process.kill()
        raise AssertionError(f"the search ended with {process.exitcode}")


def _kill_at(folder: Path, commits: int, later: float) -> None:
    """Kill a search when it has made `commits` commits in all, and then `later` seconds."""
    process = _start(folder)
    deadline = time.monotonic() + 120
    while process.is_alive() and _commits(folder) < commits and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(later)
    process.kill()
    process.join()


def _commits(folder: Path) -> int:
    ledger = folder / "ledger"
    return sum(path.suffix == ".jsonl" for path in ledger.iterdir()) if ledger.is_dir() else 0
