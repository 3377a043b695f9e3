"""What the commands of `evernas audit`, and `evernas replay`, do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.status import Status

from nas_core.errors import InputError, IntegrityError
from pipelines.runs import run_folder

if TYPE_CHECKING:
    from components.audit.replay import Replay

_BROKEN = IntegrityError.exit_code
_MOST = 20


def verify_run(
    name: str, root: str | Path, key: str | None, *, anchors: bool = True, mlflow: bool | None = None, as_json: bool
) -> None:
    """Check ledger, signatures, anchors, files and MLflow's copy of a run; IntegrityError names all that is broken.

    `mlflow`: True, it has to answer; None, it is looked at if it does; False, it is left out. Without `anchors` these
    are.
    """
    from components.audit import verify_folder

    folder = _folder(name, root)
    with _working(f"checking {folder.name}") as status:
        found = verify_folder(
            folder,
            key,
            anchors=None if anchors else False,
            mlflow=mlflow,
            on_progress=lambda number: status.update(f"comparing MLflow: {number} candidates"),
        )
    if as_json:
        _print_json(found)
    else:
        typer.echo("\n".join([f"{folder}: in order.", *_verified(found, name)]))


def _folder(name: str, root: str | Path) -> Path:
    """Return the folder of a run, with all in it that is kept of the run.

    If its ledger has gone, but anchors speak of it, then that is what is wrong: the folder is where it should be, or
    IntegrityError says so of a store.
    """
    from components.backends.anchors import anchored_ledgers
    from components.root import Root

    try:
        return run_folder(name, root)
    except InputError:
        place, anchored = Root.open(root), anchored_ledgers(Path(name).name)
        if not anchored:
            raise
        if place.remote:
            raise IntegrityError(
                f"run {name}: has no ledger in {place.uri}, though one was anchored ({', '.join(anchored)})", 0
            ) from None
        return (place.folder / name).absolute()


def _verified(found: Mapping[str, Any], name: str) -> list[str]:
    whose = "this machine has it" if found["own_key"] else "not a key of this machine"
    lines = [
        f"{found['entries']} entries, head {found['head']}",
        f"sealed by key {found['key']} ({whose}); trusted was {found['trusted']}",
        f"{found['files']} files are as recorded",
    ]
    match found["anchors"]:
        case None:
            lines.append("anchors were not looked at: entries that are missing at the end would not be noticed")
        case {"checked": 0}:
            lines.append("there are no anchors: entries that are missing at the end would not be noticed")
        case {"checked": count, "newest": newest, "time": time}:
            lines.append(f"{count} anchors agree, the newest with entry {newest}, at {time}")
    if found["torn"]:
        lines.append(f"{found['torn']} is the beginning of a commit that a crash cut off; the next one sets it aside")
    match found["mlflow"]:
        case {"skipped": why}:
            lines.append(f"not compared: {why}")
        case {"checked": count, "behind": 0}:
            lines.append(f"MLflow shows the same, {count} candidates")
        case {"checked": count, "behind": behind}:
            lines.append(
                f"MLflow is behind by {behind} of {count} runs; `evernas audit sync {name}` brings it up to date"
            )
    return lines


def show_candidate(candidate: str, root: str | Path, *, as_json: bool) -> None:
    """Tell the life of a candidate: `RUN#NUMBER`, `RUN#ID`, or either alone for the latest run."""
    from components.audit.candidate import find
    from components.audit.story import story
    from components.audit.telling import tell

    told = story(*find(candidate, root))
    if as_json:
        _print_json(told)
    else:
        typer.echo(tell(told))


def export_run(name: str, root: str | Path, out: Path, key: str | None = None, *, as_json: bool) -> None:
    """Write the record of a run to the new folder `out`, to be checked without evernas."""
    from components.audit.export import export

    found = export(run_folder(name, root), out, key)
    if as_json:
        _print_json({"folder": str(out.absolute()), **found})
    else:
        typer.echo(
            f"wrote {out}: {found['entries']} entries, head {found['head']}\n"
            f"sealed by key {found['key']}\n"
            f"check it anywhere: python3 -I {out / 'verify.py'}"
        )


def sync_run(name: str, root: str | Path, *, as_json: bool) -> None:
    """Bring MLflow up to the record of a run, whatever had kept it from that."""
    from components.audit.mlflow import catch_up

    found = catch_up(run_folder(name, root))
    if as_json:
        _print_json(found)
    else:
        closed = ", and the cycle was closed" if found["closed"] else ""
        typer.echo(
            f"MLflow has all {found['candidates']} candidates: {found['made']} were made, {found['completed']} "
            f"completed{closed}"
        )


def replay_candidate(candidate: str, root: str | Path, *, strict: bool = False, as_json: bool) -> int:
    """Do a trial again from its record, show how its figures compare, and return the exit code.

    That is 5 if figures differ though environment does not, or `strict`; else 0.
    """
    from components.audit.candidate import find
    from components.audit.replay import replay

    run, number = find(candidate, root)
    with _working(f"trial {number} of {run.id}: reading its data") as status:
        done = replay(run, number, lambda trial, step, _: status.update(f"trial {trial}: step {step}"))
    if as_json:
        _print_json({**done.to_json(), "strict": strict, "exit_code": _BROKEN if done.broken(strict=strict) else 0})
    else:
        typer.echo("\n".join(_replayed(done)))
    return _BROKEN if done.broken(strict=strict) else 0


def _replayed(done: Replay) -> list[str]:
    before = f", after {', '.join(map(str, done.line[:-1]))}" if len(done.line) > 1 else ""
    lines = [f"Trial {done.trial} of run {done.run} was done again{before}."]
    if done.identical:
        lines.append(f"Identical: status {done.status[0]} and {done.compared} figures, to the last bit.")
    else:
        lines.append(f"DIFFERENT in {len(done.deviations)} of {done.compared} figures:")
        for each in done.deviations[:_MOST]:
            at = "at the end" if each.step is None else f"at step {each.step}"
            gap = "" if each.difference is None else f", a difference of {each.difference:.3g}"
            lines.append(f"  {each.metric} {at}: recorded {_shown(each.recorded)}, found {_shown(each.found)}{gap}")
        if (more := len(done.deviations) - _MOST) > 0:
            lines.append(f"  and {more} more")
    if done.environment:
        lines.append("It was run with something else than now:")
        lines += [f"  {name}: {_shown(was)} then, {_shown(now)} now" for name, (was, now) in done.environment.items()]
    if not done.identical and done.environment:
        lines.append("So the figures contradict nothing: other versions or machines round otherwise.")
    elif not done.identical:
        lines.append("The environment on record is the same, so either the record or the training is not what it says.")
    return lines


def _shown(value: object) -> str:
    return "nothing" if value in (None, "") else str(value)


def _working(what: str) -> Status:
    """Return a line that says what is going on, where a person is looking."""
    return Console(stderr=True).status(what)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1))
