"""Which trial of which run a person means by `latest#12`, `adult-3f2a#9c41`, or `12`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.run import Run
from nas_core.errors import EvernasError, InputError
from nas_core.history import KINDS, History
from nas_core.ledger import Entry, Ledger
from nas_core.types import Architecture, Trial

LATEST = "latest"
_LEAST_ID = 4


def find(candidate: str, root: str | Path) -> tuple[Run, int]:
    """Return the run and the number of the trial that `candidate` names.

    That is `RUN#NUMBER`, or `RUN#ID` by the beginning of an architecture's id, 4 digits at least, where digits alone
    are a number if there is such a trial; RUN is a run's id in `root` or its folder, and the latest run if it is left
    out. Of several trials of one architecture the last is meant, which has come furthest. InputError if there is none,
    or if the beginning fits several architectures.
    """
    name, _, wanted = candidate.rpartition("#")
    run = open_run(name or LATEST, root)
    own = [trial for trial in read_history(Ledger(run.store).entries(KINDS)).trials if not trial.origin]
    if not own:
        raise InputError(f"{candidate}: run {run.id} has not tried anything yet")
    if wanted.isdecimal() and any(trial.number == int(wanted) for trial in own):
        return run, int(wanted)
    if len(wanted) < _LEAST_ID or not set(wanted) <= set("0123456789abcdef"):
        raise InputError(
            f"{candidate}: run {run.id} has the trials {own[0].number} to {own[-1].number}; name one by its number, or "
            f"by {_LEAST_ID} or more of the hex digits that its architecture's id begins with"
        )
    return run, _by_id(candidate, wanted, run, own)


def open_run(name: str, root: str | Path) -> Run:
    """Open a run by its id in `root`, or by its folder wherever it lies; InputError if there is none."""
    try:
        return Run.open(root, name)
    except InputError:
        folder = Path(name)
        if not (folder / "run.json").is_file():
            raise
    return Run.open(folder.resolve().parent, folder.resolve().name)


def read_history(entries: Iterable[Entry]) -> History:
    """Return the study that the entries tell of; what else is among them is passed over."""
    return History(entry for entry in entries if entry.kind in KINDS)


def describe(
    run: Run, architecture: Architecture, search: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, str]]:
    """Return the id and the decisions by name of an architecture; no id, and numbers, where its space cannot be had.

    `search` is the search's result, if it has ended: its best is described there, so that no space has to be built.
    """
    if search and tuple(search["architecture"]) == tuple(architecture):
        return search["architecture_id"], dict(search["decisions"])
    try:
        run.kept.fetch(["data_prep"])
        identity, decisions = run.names(tuple(architecture))
    except (EvernasError, OSError):
        return "", {f"decision {index}": str(option) for index, option in enumerate(architecture)}
    return identity, dict(decisions)


def _by_id(candidate: str, wanted: str, run: Run, own: Sequence[Trial]) -> int:
    search = run.results().get("search")
    if search and search["architecture_id"] == wanted:  # in full: nothing else can be meant
        return max(trial.number for trial in own if list(trial.architecture) == search["architecture"])
    found: dict[str, int] = {}
    run.kept.fetch(["data_prep"])
    for trial in own:
        identity, _ = run.names(trial.architecture)
        if identity.startswith(wanted):
            found[identity] = trial.number
    if len(found) > 1:
        raise InputError(f"{candidate}: {wanted} begins {', '.join(sorted(found))}; give more digits")
    if not found:
        raise InputError(f"{candidate}: no trial of run {run.id} has an architecture whose id begins with {wanted}")
    return next(iter(found.values()))
