"""What MLflow shows of a run beside the record of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.audit.record import Record, read_record
from components.backends.storage import open_store
from components.run import Run
from nas_core.errors import EvernasError, OutsideError
from nas_core.ledger import Ledger

if TYPE_CHECKING:
    from components.backends.mlflow_parent import Parent


def compare(folder: Path, record: Record, on_progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Return how many candidates were compared, how many MLflow has not yet, and each difference in words.

    OutsideError if there is no MLflow to look at: it does not answer, it is not where the run says, or what it should
    show cannot be told since the run's folder is not whole.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for each small file
    from components.backends.mlflow_compare import differences

    run = _run(folder, record)
    files = record.published.data["files"] if record.published else None
    found: dict[str, Any] = {"checked": 0, "behind": 0, "differences": []}

    def count(number: int) -> None:
        found["checked"] = number
        if on_progress:
            on_progress(number)

    for difference in differences(
        run.tracker, Ledger(run.store).entries(), run.names, files, count, parent=_parent(run)
    ):
        if difference.behind:
            found["behind"] += 1
        else:
            found["differences"].append(str(difference))
    return found


def catch_up(folder: Path) -> dict[str, int]:
    """Let MLflow show all that the record of the run in `folder` says; return what there was to do.

    That is `candidates` in all, how many were `made` or `completed`, and whether the cycle's own run was `closed`.
    OutsideError when MLflow does not answer; called again, it goes on. What was edited in MLflow stays as it is.
    """
    from components.backends.mirror import sync

    run, record = Run.open(folder.parent, folder.name), read_record(open_store(str(folder)))
    published = record.published.data["files"] if record.published else {}
    files = {name: run.folder / name for name in published}
    return sync(run.tracker, Ledger(run.store).entries(), run.names, _parent(run), files)


def _parent(run: Run) -> Parent:
    """Return what the run of the whole cycle shows in MLflow."""
    from components.backends.mlflow_parent import parent_expected
    from components.report.summary import summarise

    spec = run.spec
    return parent_expected(
        lambda: Ledger(run.store).entries(),
        lambda entries: summarise(entries, spec),
        name=spec.name,
        source=spec.task.source.model_dump_json(),
    )


def _run(folder: Path, record: Record) -> Run:
    """Open the run; OutsideError if MLflow cannot know it by this folder."""
    try:
        run = Run.open(folder.parent, folder.name)
        recorded = record.cycle.get("run")
        uri = run.tracker.spec.uri
    except EvernasError as error:
        raise OutsideError(f"MLflow: cannot be looked at; {error}") from error
    if recorded != run.id:
        raise OutsideError(f"MLflow: knows the run as {recorded}, not as a copy in {folder}")
    if uri is None and not (run.root / "mlflow.db").is_file():
        raise OutsideError(f"MLflow: there is none beside the run ({run.root / 'mlflow.db'} is missing)")
    if not (run.folder / "data_prep" / "schema.json").is_file():
        raise OutsideError(f"MLflow: cannot be looked at; the prepared data of {run.folder} is missing")
    return run
