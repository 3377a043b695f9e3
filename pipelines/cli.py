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
audit = typer.Typer(help="Check the record of a run.", no_args_is_help=True)
app.add_typer(audit, name="audit")

SpecFile = Annotated[Path, typer.Argument(help="The spec, a YAML file.", metavar="SPEC")]
Root = Annotated[Path, typer.Option(help="The folder that holds all runs.", envvar="EVERNAS_ROOT")]
RunName = Annotated[str, typer.Argument(help="A run's id, or its folder wherever it lies.", metavar="RUN")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]
RUNS = Path("runs")


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
def compile(  # noqa: A001  the command's name
    spec: SpecFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write.")] = Path("pipeline.yaml"),
    image: Annotated[str | None, typer.Option(help="The container image of the steps.", envvar="EVERNAS_IMAGE")] = None,
) -> None:
    """Compile the pipeline for Kubeflow, with the spec as its default.

    Example: evernas compile examples/adult/spec.yaml -o pipeline.yaml
    """
    from pipelines.commands import compile_pipeline

    compile_pipeline(spec, output, image)
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


@app.command("list")
def list_parts(
    group: Annotated[str, typer.Argument(help="spaces, strategies, estimators or tasks.", metavar="WHAT")],
    as_json: Json = False,
) -> None:
    """List what a spec can name, with its options.

    Example: evernas list strategies
    """
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
        str | None, typer.Option(help="The fingerprint of the key that must have sealed it; default: any one key.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a run's ledger, its signatures, and the files that it speaks of. Exit code 5: the record is broken.

    Example: evernas audit verify latest
    """
    from pipelines.commands import verify_run

    verify_run(name, root, key, as_json=as_json)


if __name__ == "__main__":
    main()
