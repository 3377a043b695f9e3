"""Figures that were measured somewhere else, as a CSV file with a row per architecture."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from nas_core import space as algebra
from nas_core.errors import InputError, unknown
from nas_core.interfaces import SearchSpace
from nas_core.types import Architecture

ARCHITECTURE = "architecture"
LEAST = 10
"""Fewer measurements say nothing of other architectures."""

Read = Callable[[Mapping[str, str]], Architecture]


def read_measurements(path: Path, space: SearchSpace, column: str) -> dict[Architecture, float]:
    """Return the figure in `column` of each architecture; the median of several of one.

    The file is UTF-8 with a header. Architectures stand in a column per decision, which holds the options' names (and
    nothing where the decision is inactive), or in the column `architecture`: a list of option indices such as
    `[3, 0, 1]`, or the space's own text if it has a `from_string`. Other columns are not looked at. InputError names
    the line and what is wrong with it: figures must be finite and more than 0, and the decisions those of `space`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            header = [name for name in lines.fieldnames or () if name is not None]
            read = _reader(space, header, path)
            if column not in header:
                raise unknown(f"csv: {path}: column", column, header)
            found: dict[Architecture, list[float]] = {}
            for row in lines:
                at = f"csv: {path}: line {lines.line_num}"
                architecture = _architecture(space, read, row, at)
                found.setdefault(architecture, []).append(_figure(row.get(column), column, at))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"csv: {path}: cannot be read as CSV, {error}; give the path of a UTF-8 file") from error
    if len(found) < LEAST:
        raise InputError(f"csv: {path}: must hold {LEAST} architectures or more, got {len(found)}; measure more")
    return {architecture: median(figures) for architecture, figures in found.items()}


def _reader(space: SearchSpace, header: Sequence[str], path: Path) -> Read:
    """Return what makes an architecture of a row with these columns."""
    names = [decision.name for decision in space.decisions]
    if not set(names) <= set(header) and ARCHITECTURE in header:
        return lambda row: _from_text(space, row.get(ARCHITECTURE) or "")
    if missing := [name for name in names if name not in header]:
        raise InputError(
            f"csv: {path}: must have a column for each decision of the space or one called {ARCHITECTURE}, got "
            f"{', '.join(header) or 'none'}; add {', '.join(missing)}"
        )
    return lambda row: _from_options(space, row)


def _architecture(space: SearchSpace, read: Read, row: Mapping[str, str], at: str) -> Architecture:
    try:
        architecture = read(row)
        algebra.validate(space, architecture)
    except InputError as error:
        raise InputError(f"{at}: {error}") from error
    return architecture


def _from_options(space: SearchSpace, row: Mapping[str, str]) -> Architecture:
    values: list[int] = []
    on: list[bool] = []
    for decision in space.decisions:
        on.append(all(on[earlier] and values[earlier] in allowed for earlier, allowed in decision.active_if))
        option = (row.get(decision.name) or "").strip()
        if option not in decision.options and (on[-1] or option):
            raise unknown(decision.name, option, decision.options)
        values.append(decision.options.index(option) if on[-1] else 0)
    return tuple(values)


def _from_text(space: SearchSpace, text: str) -> Architecture:
    if not text.lstrip().startswith("["):
        own: Callable[[str], Architecture] | None = getattr(space, "from_string", None)
        if own is not None:
            return own(text)
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise InputError(f"{ARCHITECTURE}: must be a list of option indices such as [0, 2, 1], got {text[:60]!r}")
    return tuple(value)


def _figure(text: str | None, column: str, at: str) -> float:
    fix = "measure it again, or remove the row"
    if text is None or not text.strip():
        raise InputError(f"{at}: {column} is missing; {fix}")
    try:
        figure = float(text)
    except ValueError:
        raise InputError(f"{at}: {column} must be a number, got {text[:60]!r}; {fix}") from None
    if not (math.isfinite(figure) and figure > 0):
        raise InputError(f"{at}: {column} must be finite and > 0, got {text.strip()}; {fix}")
    return figure
