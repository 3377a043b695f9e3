"""Which runs there are, and which of them a name means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from nas_core.errors import EvernasError, InputError

if TYPE_CHECKING:
    from components.run import Run


def find_run(name: str, root: str | Path, *, begun: bool = True) -> Run:
    """Open a run by its id in `root`, or by its folder, wherever that lies; InputError if it has no ledger.

    With `begun` false it may have none yet: a run that was killed at once has kept what was asked for, and no more.
    """
    from components.root import Root
    from components.run import Run

    place = Root.open(root)
    if place.remote and not Path(name).is_absolute():
        found = Run.open(place, name)
        if begun and not found.store.keys("ledger/"):
            raise InputError(f"run: {found.kept.place} holds no ledger; `evernas resume {name}` goes on with it")
        return found
    for folder in (place.folder / name, Path(name)):
        if (folder / "ledger").is_dir() or (not begun and (folder / "run.json").is_file()):
            found_at = folder.resolve()  # through `latest`
            return Run.open(found_at.parent, found_at.name)
    raise InputError(
        f"run: neither {place.folder / name} nor {name} holds a ledger; `{place.listing}` shows the runs there are"
    )


def run_folder(name: str, root: str | Path) -> Path:
    """Return the folder of a run by its id in `root`, or by its path; InputError if it holds no ledger.

    A run in a store is fetched, as it is there now.
    """
    return find_run(name, root).kept.checkout()


def show_runs(root: str | Path, *, as_json: bool) -> None:
    """List the runs in `root` with their beginnings and their ends."""
    from components.root import Root

    place = Root.open(root)
    latest = place.latest()
    found = [{**_told(place, run_id), "latest": run_id == latest} for run_id in place.runs()]
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    table = Table("run", "deployment", "began", "came to")
    for each in sorted(found, key=lambda each: each["began"] or ""):
        table.add_row(each["run"], each["name"], (each["began"] or "")[:19], each["decision"] or "not ended")
    Console().print(table)


def _told(place: Any, run_id: str) -> dict[str, Any]:
    """Return what a run's record says of it in short; of one that cannot be read, that it cannot."""
    from components.run import Run
    from nas_core.ledger import Ledger

    told = {"run": run_id, "name": "", "began": None, "decision": None}
    try:
        run = Run.open(place, run_id)
        told["name"] = run.spec.name
        for entry in Ledger(run.store).entries({"cycle", "end"}):
            told |= {"began": entry.time} if entry.kind == "cycle" else {"decision": entry.data["decision"]}
    except EvernasError as error:
        told["decision"] = f"cannot be read: {error}"
    return told
