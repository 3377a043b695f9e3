"""Hurts evernas in every way that is known here, prints what it survived, and writes `chaos.json`.

`make chaos`, or `python -m tests.chaos.run --help`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.judge import Verdict

FAULTS = {
    "driver": "tests.chaos.driver_faults:driver_killed",
    "cycle": "tests.chaos.cycle_faults:cycle_killed",
    "disk": "tests.chaos.disk_faults:disk_full",
    "node": "tests.chaos.ray_faults:node_killed",
    "worker": "tests.chaos.ray_faults:worker_killed",
    "memory": "tests.chaos.ray_faults:worker_starved",
    "ray-driver": "tests.chaos.ray_faults:driver_killed",
    "storage": "tests.chaos.storage_faults:storage_unreliable",
    "mlflow": "tests.chaos.mlflow_faults:mlflow_killed",
    "mlflow-refuses": "tests.chaos.mlflow_faults:mlflow_refuses",
}
"""Each is `fault(folder, seed)`, and gives a verdict or its JSON."""


def main() -> int:
    """Run the faults that were asked for; the exit code is 1 if one was not survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS), help="these alone")
    parser.add_argument("--seed", type=int, default=1, help="when what is killed (default: 1)")
    parser.add_argument("--output", type=Path, default=Path("chaos.json"), help="where to write (default: chaos.json)")
    given = parser.parse_args()
    console, found = Console(stderr=True), []
    table = Table("fault", "runs", "lost", "duplicated", "invalid", "seconds", title="Faults survived")
    for name in given.only:
        began = time.monotonic()
        with console.status(f"{name} ..."), tempfile.TemporaryDirectory(prefix="evernas-chaos-") as folder:
            verdict = _run(FAULTS[name], Path(folder), given.seed)
        seconds = time.monotonic() - began
        found.append(verdict)
        cells = [str(verdict[key]) for key in ("runs", "lost", "duplicated", "invalid")]
        style = "red" if _hurt(verdict) else None
        table.add_row(verdict["name"], *cells, f"{seconds:.0f}", style=style)
        console.print(f"{name}: {verdict}", highlight=False)
    Console().print(table)
    given.output.write_text(json.dumps({"seed": given.seed, "faults": found}, indent=1) + "\n", encoding="utf-8")
    return int(any(map(_hurt, found)))


def _run(target: str, folder: Path, seed: int) -> dict[str, object]:
    module, _, function = target.partition(":")
    verdict = getattr(importlib.import_module(module), function)(folder, seed)
    return verdict.to_json() if isinstance(verdict, Verdict) else dict(verdict)


def _hurt(verdict: dict[str, object]) -> bool:
    return any(verdict[key] for key in ("lost", "duplicated", "invalid"))


if __name__ == "__main__":
    sys.exit(main())
