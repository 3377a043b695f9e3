"""A whole cycle is killed with all its processes, as when the machine loses power, in any of its stages."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nas_core.ledger import Ledger
from nas_core.store import FolderStore
from tests.chaos.judge import Verdict, judge
from tests.e2e.specs import TUMOUR, write_spec

_TRIALS = 4
_ROOT = Path(__file__).resolve().parents[2]


def cycle_killed(folder: Path, seed: int, runs: int = 6, say: Callable[[str], None] = lambda _: None) -> Verdict:
    """Kill `runs` cycles at random moments between their first entry and their last, resume each, and look at its end.

    One champion is promoted by each, once; every stage has one result.
    """
    verdict, rng = Verdict("cycle killed with all its processes"), random.Random(seed)
    spec = write_spec(folder, TUMOUR, search__budget__trials=_TRIALS, retrain__seeds=1)
    for run in range(runs):
        root = folder / f"runs-{run}"
        _kill_cycle(["run", str(spec), "--root", str(root), "--run", "hurt"], root / "hurt", rng)
        done = _evernas(["resume", "hurt", "--root", str(root), "--json"], root.parent)
        out, _ = done.communicate(timeout=300)
        found = judge(verdict.name, FolderStore(root / "hurt"), _TRIALS)
        entries = list(Ledger(FolderStore(root / "hurt")).entries({"stage", "promotion"}))
        stages = [entry.data["stage"] for entry in entries if entry.kind == "stage"]
        found.duplicated += len(stages) - len(set(stages))
        promoted = {entry.data["digest"] for entry in entries if entry.kind == "promotion"}
        pointer = root / "champions" / "tumour" / "champion.json"
        champions = {json.loads(pointer.read_text())["digest"]} if pointer.exists() else set()
        found.lost += done.returncode != 0 or json.loads(out)["decision"] != "promoted" or promoted != champions
        verdict.add(found)
        say(f"{run + 1}/{runs}")
    return verdict


def _kill_cycle(arguments: list[str], run: Path, rng: random.Random) -> None:
    """Run the command line, and kill every process that it has started when the record has some number of objects."""
    command = _evernas(arguments, run.parent.parent)
    wanted, later = rng.randrange(1, 18), rng.random()
    deadline = time.monotonic() + 200
    while command.poll() is None and _entries(run) < wanted and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(later)
    kill_with_descendants(command)


def kill_with_descendants(command: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it has started, with SIGKILL, so that none can put its affairs in order."""
    for process in [command.pid, *_descendants(command.pid)]:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    command.wait()


def _entries(run: Path) -> int:
    """Return how many commits there are, merged ones too."""
    try:
        return sum(entry.kind == "seal" for entry in Ledger(FolderStore(run)).entries({"seal"}))
    except FileNotFoundError:
        return 0


def _evernas(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    own = {"EVERNAS_SIGNING_KEY": str(folder / "signing.pem"), "EVERNAS_ANCHORS": str(folder / "anchors")}
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        cwd=_ROOT,
        env={**os.environ, **own, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _descendants(pid: int) -> list[int]:
    """Return the processes that `pid` has started, and those that these have."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(after[1]), []).append(int(status.parent.name))
    found, new = [], [pid]
    while new:
        new = [child for parent in new for child in parents.get(parent, [])]
        found += new
    return found
