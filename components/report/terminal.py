"""The end of a run on a terminal: what a person wants to know in ten seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from components.report import words

_STYLES = {
    "promoted": "bold green",
    "kept": "bold blue",
    "no drift": "bold blue",
    "blocked": "bold yellow",
    "interrupted": "bold yellow",
    "failed": "bold red",
}
_VERDICTS = {"fail": "red", "inconclusive": "yellow", "pass": "green"}
_ASCII = str.maketrans("→±–·", ">~-|")


def show(summary: Mapping[str, Any], console: Console) -> None:
    """Print `summary`, as `summarise` makes it, on `console`. Nothing in it is taken as markup."""
    decision = summary["decision"]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    found = list(_found(summary))
    for label, content in [*found, *([("", Text())] if found else []), *_next(summary)]:
        grid.add_row(label, _printable(content, console))
    title = Text.assemble(
        (decision.upper(), _STYLES[decision]), "  ", (words.headline(decision, summary["name"]), "bold")
    )
    for part in (title, Text(summary["reason"]), Text(), grid):
        console.print(Padding(_printable(part, console), (0, 0, 0, 1)))


def _found(summary: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    if summary["champion"]["architecture"]:
        yield "Architecture", Text(words.architecture(summary["champion"]["architecture"]))
    if summary["champion"].get("chosen"):
        yield "Chosen as", Text(summary["champion"]["chosen"])
    for label, figure, note in words.facts(summary):
        yield label, Text.assemble((figure, "bold"), f" {note}")
    if summary["fairness_verdict"]:
        yield "Fairness", _fairness(summary)


def _fairness(summary: Mapping[str, Any]) -> Text:
    """Return a line per verdict with its attributes, the worst first."""
    lines = []
    for verdict, style in _VERDICTS.items():
        attributes = [name for name, found in summary["fairness"].items() if found == verdict]
        if attributes:
            lines.append(Text.assemble((verdict, style), f": {', '.join(attributes)}"))
    return Text("\n").join(lines) if lines else Text(summary["fairness_verdict"])


def _next(summary: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    if summary["report"]:
        yield "Report", Text(_short(Path(summary["report"])))
    if summary["candidates"]:
        yield "In MLflow", Text("evernas ui")
    if summary["run"]:
        yield "Check record", Text(f"evernas audit verify {summary['run']}")
    yield "Next", Text(summary["next"].replace("`", ""), style="bold")


def _short(path: Path) -> str:
    """Return `path` from the working directory on, if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _printable(content: Any, console: Console) -> Any:
    """Return `content` without control characters, in what the console can show; styles stay in their places."""
    if isinstance(content, Text):
        plain = "".join(c if c.isprintable() or c == "\n" else "?" for c in content.plain)
        if not console.encoding.startswith("utf"):
            plain = plain.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
        content.plain = plain
    return content
