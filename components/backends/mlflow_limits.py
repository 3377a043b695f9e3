"""What MLflow takes: how long names and values may be, which names, and how much in one request."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

MOST_PARAMS, MOST_METRICS = 100, 900
"""In one request, which may hold 100 parameters or tags, and 1,000 things in all."""

LONGEST_PARAM, LONGEST_TAG = 6000, 8000
"""Characters of a value; MLflow cuts longer ones in silence."""

_LONGEST_NAME = 250


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield `items` in order, at most `size` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def cut(text: str, longest: int) -> str:
    """Return `text` as every database takes it, with an ellipsis in place of what is beyond `longest`.

    PostgreSQL holds no NUL, and half a surrogate pair, which an error may quote from a file's name, is no UTF-8.
    """
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= longest else text[: longest - 1] + "…"


def named(names: Iterable[str]) -> dict[str, str]:
    """Return for each name one that MLflow takes, as like it as may be, and different for different names."""
    taken: dict[str, str] = {}
    for name in names:
        if name not in taken:
            allowed = _allowed(name)
            while allowed in taken.values():
                allowed = _allowed(allowed[: _LONGEST_NAME - 1] + "_")
            taken[name] = allowed
    return taken


def _allowed(name: str) -> str:
    """Return `name` cut, and with `_` for what MLflow allows in no name; it must read like a plain relative path."""
    allowed = re.sub(r"[^\w\-. :/]", "_", name[:_LONGEST_NAME], flags=re.ASCII)
    plain = posixpath.normpath(allowed) == allowed and not allowed.startswith(("/", "..")) and allowed != "."
    return allowed if plain else "_" + allowed[1:].replace("/", "_")
