"""YAML text -> plain JSON values, and the line of each.

Only what a spec needs of YAML, by the rules of version 1.2: `true` and `false` are the only booleans, `1e-4` is a
number, `no` and `2026-01-01` are text. Tags, anchors, aliases and further documents are refused, and so is whatever
two readers could take for different things: duplicate keys and keys that are no text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from yaml import events
from yaml.reader import ReaderError

from nas_core.errors import InputError

Location = tuple[str | int, ...]
"""Keys and list indices from the root: `("search", "objectives", 0, "limit")`."""

MAX_DEPTH = 50
MAX_VALUES = 10_000
MAX_DIGITS = 40
MAX_SHOWN = 40

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STRUCTURE = (events.StreamStartEvent, events.StreamEndEvent, events.DocumentStartEvent, events.DocumentEndEvent)


class Document(NamedTuple):
    """What a YAML text says, and on which line (from 1) it says it."""

    value: Any
    lines: dict[Location, int]

    def line(self, location: Location) -> int:
        """Return the line of `location`, or of the nearest thing around it that is in the text."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def path(location: Location) -> str:
    """Return `location` as people write it: `search.objectives[0].limit`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_quoted(step)}" for step in location).removeprefix(".")


def _quoted(key: str) -> str:
    shown = key if len(key) <= MAX_SHOWN else f"{key[:MAX_SHOWN]}..."
    return shown if re.fullmatch(r"[\w-]+", key) else repr(shown)


def read_yaml(text: str, origin: str) -> Document:
    """Return the one document of `text`; an empty text is None. `origin` names the text in errors.

    Raises InputError `<origin>:<line>: ...` for what is no YAML and for what is refused here.
    """
    reader = _Reader(text)
    try:
        return reader.document()
    except _RefusedError as refused:
        line, message = refused.line, str(refused)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else reader.line
        message = (
            f"not valid YAML, {error.problem or error.context}; indent with spaces only, and put texts in quotes that "
            "begin with one of > | & * ! % @ [ { or hold ': ' or ' #'"
        )
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"the character {chr(error.character)!r} is not text; remove it"
    except (ValueError, OverflowError):  # PyYAML on "\UFFFFFFFF" and on a version of 5,000 digits
        line, message = reader.line, "not valid YAML, an escape or directive after this line is none; remove it"
    raise InputError(f"{origin}:{line}: {message}")


class _RefusedError(Exception):
    def __init__(self, line: int, location: Location, message: str) -> None:
        super().__init__(f"{path(location)}: {message}" if location else message)
        self.line = line


class _Reader:
    """Builds values from PyYAML's events: its constructors know version 1.1 only, and its composer follows aliases."""

    def __init__(self, text: str) -> None:
        parsed = yaml.parse(text, Loader=yaml.SafeLoader)
        self.events: Iterator[Any] = (event for event in parsed if not isinstance(event, _STRUCTURE))
        self.lines: dict[Location, int] = {(): 1}
        self.line = 1
        self.count = 0

    def document(self) -> Document:
        first = next(self.events, None)
        value = None if first is None else self.node(first, ())
        if extra := next(self.events, None):
            self.line = extra.start_mark.line + 1
            raise self.refused((), "a second document begins here; a spec is one, remove all from its `---` on")
        return Document(value, self.lines)

    def refused(self, location: Location, message: str) -> _RefusedError:
        return _RefusedError(self.line, location, message)

    def node(self, event: Any, location: Location) -> Any:
        """Return the value that begins with `event`; where it has a key, the key's line is the value's."""
        self.admit(event, location)
        self.lines.setdefault(location, self.line)
        if isinstance(event, events.MappingStartEvent):
            return self.mapping(location)
        if isinstance(event, events.SequenceStartEvent):
            return self.sequence(location)
        return self.scalar(event, location)

    def admit(self, event: Any, location: Location) -> None:
        self.line = event.start_mark.line + 1
        self.count += 1
        if isinstance(event, events.AliasEvent) or event.anchor is not None:
            sign = "*" if isinstance(event, events.AliasEvent) else "&"
            what = f"anchors and aliases are not supported, got {sign}{event.anchor[:MAX_SHOWN]}"
            raise self.refused(
                location, f"{what}; write the value out, or put a text that begins with {sign} in quotes"
            )
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:MAX_SHOWN]
            raise self.refused(location, f"tags are not supported, got {tag!r}; remove it, or put the text in quotes")
        if len(location) > MAX_DEPTH:
            raise self.refused(location[:3], f"nested deeper than {MAX_DEPTH} levels; a spec needs fewer than ten")
        if self.count > MAX_VALUES:
            raise self.refused((), f"more than {MAX_VALUES} values; a spec has fewer than a hundred")

    def sequence(self, location: Location) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self.events), events.SequenceEndEvent):
            values.append(self.node(event, (*location, len(values))))
        return values

    def mapping(self, location: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self.events), events.MappingEndEvent):
            self.admit(event, location)
            key = self.scalar(event, location) if isinstance(event, events.ScalarEvent) else None
            if not isinstance(key, str):
                raise self.refused(location, 'a key that is not text; put it in quotes, such as "1"')
            here = (*location, key)
            if key in values:
                raise self.refused(here, f"this key is in line {self.lines[here]} already; remove one of the two")
            self.lines[here] = self.line
            values[key] = self.node(next(self.events), here)
        return values

    def scalar(self, event: events.ScalarEvent, location: Location) -> str | int | float | bool | None:
        """Resolve a plain scalar by the core schema, decimal numbers only; all others are text."""
        text: str = event.value
        if not event.implicit[0]:
            if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
                raise self.refused(location, f"{text[:MAX_SHOWN]!r} holds an escape that is not text; remove it")
            return text
        if text in _NULL:
            return None
        if text in _BOOLEAN:
            return _BOOLEAN[text]
        if not _NUMBER.fullmatch(text):
            return text
        if len(text) > MAX_DIGITS or math.isinf(float(text)):
            raise self.refused(
                location, f"the number {text[:MAX_DIGITS]} is too large or too long; write a smaller one"
            )
        return int(text) if _INTEGER.fullmatch(text) else float(text)
