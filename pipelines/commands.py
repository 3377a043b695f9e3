"""What the commands of the command line do."""

from __future__ import annotations

import json
import os
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from nas_core.errors import InputError
from nas_core.registry import Option
from pipelines.runs import find_run

if TYPE_CHECKING:
    from components.run import Run
    from components.spec import Source

EXIT_DRIFT = 10


def run_cycle(
    spec_path: Path, root: str | Path, name: str | None, *, data: Path | None = None, force: bool, as_json: bool
) -> int:
    """Run one cycle on this machine and return its exit code. Bad input is refused before anything is written.

    `data` takes the place of the path in the spec's `task.source`, and so does what is recorded of the spec.
    """
    from components.run import Run
    from components.spec_file import check_file

    spec, text = check_file(spec_path, data)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    run_id = name or f"{spec.name}-{stamp}-{secrets.token_hex(2)}"
    run = Run.create(root, run_id, text, spec_path.parent, forced=force)
    return _drive(run, as_json=as_json)


def resume_cycle(name: str, root: str | Path, *, as_json: bool) -> int:
    """Go on with a cycle that was interrupted or failed, from its record alone, and return its exit code.

    InputError, and nothing done, if its spec, its data or its files are no longer what the record says. Of a cycle that
    has come to its end nothing is done again.
    """
    from components.resuming import note_environment

    run = find_run(name, root, begun=False)
    for what, (before, now) in note_environment(run).items():
        typer.echo(f"note: {what} was {before} when the run began, and is {now} now", err=True)
    return _drive(run, as_json=as_json)


def _drive(run: Run, *, as_json: bool) -> int:
    """Run the pipeline of `run`, see to it that its end is on record, and show what came of it."""
    from components.report.step import main as close
    from components.report.terminal import show
    from components.resuming import check_unchanged
    from pipelines.watch import Interrupted, run_pipeline

    if run.place.remote and not os.environ.get("EVERNAS_ANCHORS"):
        typer.echo("note: EVERNAS_ANCHORS is not set, so heads are anchored on this machine only", err=True)
    run.kept.checkout()
    check_unchanged(run)
    console = Console(stderr=as_json)
    console.print(f"Run {run.id} in {run.kept.place}", highlight=False, soft_wrap=True)
    interrupted = None
    try:
        run_pipeline(run, console)
    except Interrupted as signal:
        interrupted = signal.number
        console.print(f"Ended by {signal}.", highlight=False)
    if not (run.closed and (run.folder / "summary.json").exists()):  # the pipeline did not come to its last step
        close(run.uri, run.id, interrupted)
    summary = json.loads((run.folder / "summary.json").read_text(encoding="utf-8"))
    if as_json:
        _print_json(summary)
    else:
        show(summary, console)
    return int(summary["exit_code"])


def compile_pipeline(spec_path: Path, output: Path, image: str | None, root: str | None = None) -> None:
    """Write the pipeline's intermediate representation, with the spec as the default of its parameter."""
    from components.spec_file import parse_spec, read_text
    from components.yaml_lines import read_yaml

    text = read_text(spec_path)
    parse_spec(text, str(spec_path))
    # On one line, because KFP writes defaults into a comment at the head of the file and breaks it at a newline.
    line = json.dumps(read_yaml(text, str(spec_path)).value)
    if image:
        os.environ["EVERNAS_IMAGE"] = image  # read where the components are defined, which is on import
    if root:
        os.environ["EVERNAS_ROOT"] = root  # so is this
    from kfp import compiler

    from pipelines.continuous import NAME, continuous_nas

    if output.suffix not in (".yaml", ".yml"):
        raise InputError(f"--output: must end in .yaml, got {str(output)!r}")
    output.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(
        continuous_nas,
        str(output),
        pipeline_name=NAME,
        pipeline_parameters={"spec": line},
    )


def check_drift(spec_path: Path, root: str | Path, window: Path | None, *, as_json: bool) -> int:
    """Compare current data with the champion's profile; return 10 if it has drifted, else 0."""
    from components.bundle import PROFILE
    from components.champion import bundle_folder, champion
    from components.drift.stage import check
    from components.promotions import deployment
    from components.root import Root
    from components.sources import read
    from components.spec_file import read_spec

    spec = read_spec(spec_path)
    place = Root.open(root)
    champions = deployment(place, spec.name).fetch()
    deployed = champion(champions)
    if deployed is None:
        raise InputError(
            f"{spec.name}: has no champion in {place.uri} to compare with; `evernas run {spec_path}` makes one"
        )
    source, base = spec.drift.source or spec.task.source, spec_path.parent
    if window is not None:
        source, base = _window(window, source), Path()
    profile = bundle_folder(champions, deployed.digest) / PROFILE
    found = check(spec.drift, profile, read(source, base), spec.seed)
    if as_json:
        _print_json({**found, "champion": deployed.digest})
    else:
        _show_drift(found)
    return EXIT_DRIFT if found["verdict"] == "drift" else 0


def _window(path: Path, usual: Source) -> Source:
    from components.sources import other_source

    try:
        return other_source(path, usual)
    except InputError as error:
        raise InputError(f"--window: {error}") from error


def _show_drift(found: dict[str, Any]) -> None:
    console = Console()
    rows = f"{found['rows']} rows against {found['reference_rows']}"
    console.print(f"{found['verdict']} ({rows}){': ' + ', '.join(found['drifted']) if found['drifted'] else ''}")
    if found["columns"]:
        table = Table("column", "test", "effect", "adjusted p", "drifted")
        for row in found["columns"]:
            mark = "yes" if row["drifted"] else ""
            table.add_row(row["column"], row["test"], f"{row['effect']:.3f}", f"{row['p_adjusted']:.2g}", mark)
        console.print(table)


def serve_champion(name: str, root: str | Path, host: str, port: int) -> None:
    """Serve a deployment's champion, or a bundle by its folder, until a signal ends it."""
    from components.deploy.server import serve
    from components.promotions import deployment
    from components.root import Root

    folder = deployment(Root.open(root), name).fetch()
    serve(folder if folder.is_dir() else Path(name), host, port)


def rewrite_report(name: str, root: str | Path, *, as_json: bool) -> None:
    """Write a run's report and summary anew, and bring MLflow up to date."""
    from components.report.step import main
    from components.report.terminal import show

    run = find_run(name, root)
    summary, page = main(run.uri, run.id)
    if as_json:
        _print_json(summary)
    else:
        show(summary, Console())
        typer.echo(f"wrote {page}")


def open_ui(place: str | Path, host: str, port: int) -> NoReturn:
    """Become MLflow's server on the runs in the folder `place`."""
    from components.root import Root

    if Root.open(place).remote:
        raise InputError(
            f"--root: the runs in {place} are tracked by the server that their specs name; open its address"
        )
    root = Root.open(place).folder
    if not (root / "mlflow.db").is_file():
        raise InputError(f"--root: no runs are tracked in {root} (no mlflow.db); `evernas run SPEC` makes some")
    uri = f"sqlite:///{(root / 'mlflow.db').resolve()}"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    typer.echo(f"MLflow on http://{host}:{port}, Ctrl-C ends it")
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606  its own arguments, no shell


def show_parts(group: str, *, as_json: bool) -> None:
    """List the parts of `group` with their options."""
    from nas_core import registry

    known = registry.group(group)
    parts = {name: registry.summary(known, name) for name in registry.names(known)}
    options = {name: _defaults(registry.options(registry.load(known, name))) for name in parts}
    about = {name: registry.about(known, name) for name in parts}
    if as_json:
        _print_json({name: {"summary": text, **about[name], "options": options[name]} for name, text in parts.items()})
        return
    columns = [column for column in registry.ABOUT if any(column in told for told in about.values())]
    table = Table("name", "what it is", *columns, "options and their defaults")
    for name, text in parts.items():
        told = [about[name].get(column, "") for column in columns]
        table.add_row(name, text, *told, "\n".join(f"{key}: {value}" for key, value in options[name].items()))
    Console().print(table)


def _defaults(options: list[Option]) -> dict[str, Any]:
    return {o.name: list(o.default) if isinstance(o.default, tuple) else o.default for o in options}


def print_schema() -> None:
    """Print the JSON Schema of a spec."""
    from components.spec_file import schema

    _print_json(schema())


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1))
