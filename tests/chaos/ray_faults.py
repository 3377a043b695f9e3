"""What a Ray cluster loses while it searches: machines, workers, memory, and the process that drives it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas_core.store import FolderStore
from nas_core.study import LedgerStudy
from nas_core.types import Status, Trial
from tests.chaos.driver import SIGNER
from tests.chaos.judge import judge
from tests.chaos.ray_driver import EPOCHS, TRIALS, Line, lines, search
from tests.chaos.ray_nodes import nodes

ROOT = Path(__file__).resolve().parents[2]
_WORKERS = {"PYTHONPATH": str(ROOT)}


def node_killed(folder: Path, seed: int) -> dict[str, Any]:
    """Kill one of three machines in the middle of a training; its trial goes on elsewhere."""
    rng = random.Random(seed)
    with nodes({"num_cpus": 1}, {"num_cpus": 1}, **_WORKERS) as cluster:
        moment = rng.randrange(2, EPOCHS - 2)
        hit = _hit(folder, 1, moment, lambda line: cluster.kill(line.node))
        study = search(folder, cluster.address)
        hit.join()
    found = _judged("Ray machine killed", folder, study)
    [line] = hit.lines
    elsewhere = {after.node for after in lines(folder) if after.number == line.number and after.attempt > line.attempt}
    found["lost"] += not elsewhere or line.node in elsewhere
    return found


def worker_killed(folder: Path, seed: int, kills: int = 3) -> dict[str, Any]:
    """Kill worker processes in the middle of trainings; these go on from their checkpoints."""
    rng = random.Random(seed)
    with nodes({"num_cpus": 1}, {"num_cpus": 1}, **_WORKERS) as cluster:
        moment = rng.randrange(2, EPOCHS - 2)
        hit = _hit(folder, kills, moment, lambda line: os.kill(line.process, signal.SIGKILL))
        study = search(folder, cluster.address)
        hit.join()
    return _judged("Ray worker killed", folder, study, kills)


def worker_starved(folder: Path, seed: int) -> dict[str, Any]:
    """Let a trial take memory until Ray kills it: it is infeasible, and whoever was killed beside it is not."""
    hungry = random.Random(seed).randrange(1, 3)

    def hog(trial: Trial) -> None:
        taken = []
        while trial.number == hungry and len(taken) < 40:  # 2 GB at most
            taken.append(b"x" * 50_000_000)
            time.sleep(0.03)
        if taken:
            time.sleep(5)

    memory = {line.split(":")[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}
    used = 1 - memory["MemAvailable"] / memory["MemTotal"]
    limit = used + 1.9e6 / memory["MemTotal"]  # the cluster takes some of it
    settings = {"RAY_memory_usage_threshold": f"{limit:.4f}", "RAY_memory_monitor_refresh_ms": "50"}
    with nodes({"num_cpus": 2}, **_WORKERS, **settings) as cluster:
        study = search(folder, cluster.address, trials=4, hog=hog)
    found = _judged("Ray worker starved", folder, study, kills=2, ends=3, expected=4)
    statuses = [trial.status for trial in study.history]
    right = [Status.INFEASIBLE if number == hungry else Status.OK for number in range(4)]
    found["lost"] += statuses != right or not study.history[hungry].error.startswith("oom: ")
    return found


def driver_killed(folder: Path, seed: int) -> dict[str, Any]:
    """Kill the driver of a search on a cluster of others; another one goes on from the ledger alone."""
    moment = random.Random(seed).randrange(12, 24)
    with nodes({"num_cpus": 1}, {"num_cpus": 1}, **_WORKERS) as cluster:
        first = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.ray_driver", str(folder), cluster.address],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _until(lambda: first.poll() is not None or len(lines(folder)) >= moment)
        first.kill()
        if first.wait() != -signal.SIGKILL:
            raise RuntimeError(f"the driver ended by itself with {first.returncode}")
        study = search(folder, cluster.address)
    found = _judged("Ray driver killed", folder, study, kills=2)
    found["lost"] += not any(trial.attempt for trial in study.history)
    return found


class _Hit(threading.Thread):
    """Hurts `kills` different trials, each when it has trained `moment` epochs; `lines` are what it hit."""

    def __init__(self, folder: Path, kills: int, moment: int, hurt: Callable[[Line], None]) -> None:
        super().__init__(daemon=True)
        self.folder, self.kills, self.moment, self.hurt = folder, kills, moment, hurt
        self.lines: list[Line] = []

    def run(self) -> None:
        _until(self._done)

    def _done(self) -> bool:
        told = lines(self.folder)
        if told and told[-1].epoch == self.moment and told[-1].number not in {line.number for line in self.lines}:
            self.lines.append(told[-1])
            self.hurt(told[-1])
        return len(self.lines) == self.kills


def _hit(folder: Path, kills: int, moment: int, hurt: Callable[[Line], None]) -> _Hit:
    thread = _Hit(folder, kills, moment, hurt)
    thread.start()
    return thread


def _until(done: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"did not come to it within {seconds} s")
        time.sleep(0.01)


def _judged(
    name: str, folder: Path, study: LedgerStudy, kills: int = 1, ends: int = TRIALS, expected: int = TRIALS
) -> dict[str, Any]:
    """Judge by the ledger, and by what was trained: a fault costs an epoch of each trial it hit, two at most.

    A driver may be killed when a result is on its way. The next one asks for it again, and gets it from the checkpoint
    of the last epoch, which is saved once more; only an attempt that trained again what had come to its end repeats it.
    """
    found = judge(name, FolderStore(folder), expected, key=SIGNER.fingerprint).to_json()
    told = lines(folder)
    finished = Counter(line.number for line in told if not line.epoch)
    trained = Counter((line.number, line.epoch) for line in told if line.epoch)
    again = sum(count - 1 for count in trained.values())
    found["lost"] += max(0, ends - len(finished)) + sum(trial.status is Status.LOST for trial in study.history)
    ended_at = {line.number: line.attempt for line in reversed(told) if not line.epoch}  # by the first that did
    repeated = {
        line.number
        for line in told
        if line.attempt > ended_at.get(line.number, line.attempt) and 0 < line.epoch < EPOCHS
    }
    found["duplicated"] += len(repeated) + max(0, again - 2 * kills)
    return found
