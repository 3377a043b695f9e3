"""The commands by which people overrule the pipeline."""

from __future__ import annotations

import json

import typer

from pipelines.runs import find_run


def roll_back_champion(name: str, root: str, to: str | None, reason: str, by: str | None, *, as_json: bool) -> None:
    """Put an earlier bundle in the place of a champion."""
    from components.overruling import roll_back
    from components.root import Root

    done = roll_back(Root.open(root), name, to, reason, by)
    if as_json:
        typer.echo(json.dumps(done, indent=1))
        return
    typer.echo(f"{name}: {done['to'][:12]} is the champion again, {done['digest'][:12]} is withdrawn")
    typer.echo(f"on record in run {done['run']}; a server that runs has to be started anew")


def waive_gate(name: str, root: str, gate: str, reason: str, by: str | None, *, as_json: bool) -> None:
    """Let the challenger of a blocked run pass a gate."""
    from components.overruling import waive

    done = waive(find_run(name, root), gate, reason, by)
    if as_json:
        typer.echo(json.dumps(done, indent=1))
        return
    typer.echo(f"run {done['run']}: {gate} is waived by {done['by']}; `evernas resume {name}` deploys again")
