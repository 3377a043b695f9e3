"""The command line. Every command imports what it needs when it is called, so that `--help` is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from nas_core.errors import EvernasError

EXIT_CODES = """Exit codes: 0 done, 2 bad input, 3 a gate blocked, 4 an outside system failed, 5 integrity broken,
10 drift found (`drift` only), 130/143 interrupted."""

app = typer.Typer(
    help="Continuous neural architecture search: from data drift to a deployed, audited model.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
audit = typer.Typer(help="Check, read and export the record of a run.", no_args_is_help=True)
app.add_typer(audit, name="audit")

SpecFile = Annotated[Path, typer.Argument(help="The spec, a YAML file.", metavar="SPEC")]
Root = Annotated[str, typer.Option(help="What holds all runs: a folder, or s3://bucket/prefix.", envvar="EVERNAS_ROOT")]
RunName = Annotated[str, typer.Argument(help="A run's id, or its folder wherever it lies.", metavar="RUN")]
Candidate = Annotated[
    str, typer.Argument(help="RUN#TRIAL, RUN#ARCHITECTURE, or either alone for the latest run.", metavar="CANDIDATE")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]
RUNS = "runs"


def main() -> NoReturn:
    """Run the command line; an expected error becomes one paragraph and its exit code."""
    try:
        app(standalone_mode=True)
    except EvernasError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(0)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"evernas {version('evernas')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None: ...


@app.command()
def run(
    spec: SpecFile,
    root: Root = RUNS,
    name: Annotated[str | None, typer.Option("--run", help="The run's id; default: name, date and time.")] = None,
    data: Annotated[Path | None, typer.Option(help="The data, in place of the path in the spec's source.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Search even if there is no drift.")] = False,
    as_json: Json = False,
) -> None:
    """Run one cycle: drift check, data preparation, search, retraining, fairness audit, deployment.

    Example: evernas run examples/adult/spec.yaml --force
    """
    from pipelines.commands import run_cycle

    sys.exit(run_cycle(spec, root, name, data=data, force=force, as_json=as_json))


@app.command()
def resume(name: RunName, root: Root = RUNS, as_json: Json = False) -> None:
    """Go on with a run that was interrupted, killed or failed; what is recorded is not done again.

    It refuses if the spec, the data or the run's files have changed since, and says what did.

    Example: evernas resume latest
    """
    from pipelines.commands import resume_cycle

    sys.exit(resume_cycle(name, root, as_json=as_json))


@app.command()
def compile(  # noqa: A001  the command's name
    spec: SpecFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write.")] = Path("pipeline.yaml"),
    image: Annotated[str | None, typer.Option(help="The container image of the steps.", envvar="EVERNAS_IMAGE")] = None,
    root: Annotated[
        str | None, typer.Option(help="What holds all runs, as s3://bucket/prefix; default: a volume.")
    ] = None,
) -> None:
    """Compile the pipeline for Kubeflow, with the spec as its default.

    Example: evernas compile examples/adult/spec.yaml -o pipeline.yaml
    """
    from pipelines.commands import compile_pipeline

    compile_pipeline(spec, output, image, root)
    typer.echo(f"wrote {output}")


@app.command()
def drift(
    spec: SpecFile,
    root: Root = RUNS,
    window: Annotated[
        Path | None, typer.Option(help="The current data (CSV, Parquet or npz); default: what the spec says.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare current data with what the champion was trained on. Exit code 10: it has drifted.

    Example: evernas drift spec.yaml --window last-week.parquet
    """
    from pipelines.commands import check_drift

    sys.exit(check_drift(spec, root, window, as_json=as_json))


@app.command()
def serve(
    name: Annotated[str, typer.Argument(help="A deployment's name, or the folder of a bundle.", metavar="NAME")],
    root: Root = RUNS,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8080,
) -> None:
    """Serve a champion over HTTP, in the Open Inference Protocol v2.

    Example: evernas serve adult-income --port 8080
    """
    from pipelines.commands import serve_champion

    serve_champion(name, root, host, port)


@app.command()
def report(name: RunName, root: Root = RUNS, as_json: Json = False) -> None:
    """Write a run's report and summary anew from its record.

    Example: evernas report latest
    """
    from pipelines.commands import rewrite_report

    rewrite_report(name, root, as_json=as_json)


@app.command()
def ui(
    root: Root = RUNS,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 5000,
) -> None:
    """Open MLflow's user interface on the runs of this machine."""
    from pipelines.commands import open_ui

    open_ui(root, host, port)


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="The deployment's name, as the spec has it.", metavar="NAME")],
    reason: Annotated[str, typer.Option(help="Why, for those who read the record.")],
    to: Annotated[str | None, typer.Option(help="The bundle's digest, or its begin; default: the one before.")] = None,
    by: Annotated[str | None, typer.Option(help="Who decided; default: this user.")] = None,
    root: Root = RUNS,
    as_json: Json = False,
) -> None:
    """Put an earlier bundle in the place of a champion, in one step, and on record.

    Example: evernas rollback adult-income --reason "rejects too many applications since Monday"
    """
    from pipelines.decision_commands import roll_back_champion

    roll_back_champion(name, root, to, reason, by, as_json=as_json)


@app.command()
def waive(
    name: RunName,
    gate: Annotated[
        str, typer.Argument(help="The gate: size, latency, min_metric, fairness or baseline.", metavar="GATE")
    ],
    reason: Annotated[str, typer.Option(help="Why, for those who read the record.")],
    by: Annotated[str | None, typer.Option(help="Who decided; default: this user.")] = None,
    root: Root = RUNS,
    as_json: Json = False,
) -> None:
    """Let the challenger of a blocked run pass a gate, on record; `resume` then deploys it.

    Example: evernas waive latest size --reason "the new device has the room" && evernas resume latest
    """
    from pipelines.decision_commands import waive_gate

    waive_gate(name, root, gate, reason, by, as_json=as_json)


@app.command("list")
def list_parts(
    group: Annotated[
        str, typer.Argument(help="runs, spaces, strategies, stoppers, estimators, costs or tasks.", metavar="WHAT")
    ],
    root: Root = RUNS,
    as_json: Json = False,
) -> None:
    """List the runs there are, or what a spec can name, with its options.

    Example: evernas list strategies
    """
    if group == "runs":
        from pipelines.runs import show_runs

        show_runs(root, as_json=as_json)
        return
    from pipelines.commands import show_parts

    show_parts(group, as_json=as_json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a spec, for an editor."""
    from pipelines.commands import print_schema

    print_schema()


@audit.command()
def verify(
    name: RunName,
    root: Root = RUNS,
    key: Annotated[
        str | None,
        typer.Option(help="The fingerprint of the key that must have sealed it; default: the one that anchored it."),
    ] = None,
    anchors: Annotated[bool, typer.Option(help="Compare with the anchors of its heads.")] = True,
    mlflow: Annotated[
        bool | None, typer.Option(help="Compare with MLflow, which must answer; default: if it answers.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a run's ledger, signatures, anchors and files, and MLflow's copy. Exit code 5: something was changed.

    Example: evernas audit verify latest
    """
    from pipelines.audit_commands import verify_run

    verify_run(name, root, key, anchors=anchors, mlflow=mlflow, as_json=as_json)


@audit.command()
def show(candidate: Candidate, root: Root = RUNS, as_json: Json = False) -> None:
    """Tell the life of a candidate: who proposed it and from what, what it scored, why it was or was not chosen.

    Example: evernas audit show latest#12
    """
    from pipelines.audit_commands import show_candidate

    show_candidate(candidate, root, as_json=as_json)


@audit.command()
def export(
    name: RunName,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")],
    root: Root = RUNS,
    key: Annotated[str | None, typer.Option(help="The fingerprint of the key that must have sealed it.")] = None,
    as_json: Json = False,
) -> None:
    """Write a run's record to a folder that verifies with openssl and a page of script, without evernas.

    Example: evernas audit export latest -o record
    """
    from pipelines.audit_commands import export_run

    export_run(name, root, output, key, as_json=as_json)


@audit.command()
def sync(name: RunName, root: Root = RUNS, as_json: Json = False) -> None:
    """Bring MLflow up to a run's record, after an outage or a crash; what is there already stays.

    Example: evernas audit sync latest
    """
    from pipelines.audit_commands import sync_run

    sync_run(name, root, as_json=as_json)


@app.command()
def replay(
    candidate: Candidate,
    root: Root = RUNS,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 5 even if versions or machine differ.")] = False,
    as_json: Json = False,
) -> None:
    """Train a candidate again from the record and compare all figures. Exit code 5: they differ without a reason.

    Example: evernas replay latest#12
    """
    from pipelines.audit_commands import replay_candidate

    sys.exit(replay_candidate(candidate, root, strict=strict, as_json=as_json))


if __name__ == "__main__":
    main()
