"""What is wrong with a spec, in plain words: pydantic's findings and our own as `Problem`s, and those as one error."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from components.yaml_lines import Document, Location, path
from nas_core.errors import InputError, unknown

MAX_SHOWN = 10
_WIDTH = 60
_LISTED = 30

_RULES = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have {max_length} or fewer entries",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
}


class Problem(NamedTuple):
    """Where in the spec something is wrong; the message names the value, the rule and, if it is not plain, the fix."""

    location: Location
    message: str

    @classmethod
    def of(cls, error: InputError, root: Location = ()) -> Problem:
        """Return `error`, whose message may begin with a location such as `limits[1].value: `, below `root`."""
        place, colon, message = str(error).partition(": ")
        if not colon or not re.fullmatch(r"[\w.\[\]-]+", place):
            return cls(root, str(error))
        steps = re.findall(r"[^.\[\]]+", place)
        return cls((*root, *(int(step) if step.isdigit() else step for step in steps)), message)

    def __str__(self) -> str:
        return f"{path(self.location)}: {self.message}" if self.location else self.message


def combined(problems: Iterable[Problem], origin: str = "", document: Document | None = None) -> InputError:
    """Return one error for all `problems`: the first in full, then the others, at most ten in all.

    With a `document` they are in the order of its lines, and begin with `<origin>:<line>: ` and `line <line>: `.
    """
    ordered = sorted(problems, key=lambda p: document.line(p.location)) if document else list(problems)
    first, others = ordered[0], ordered[1:MAX_SHOWN]
    lines = [f"{origin}:{document.line(first.location)}: {first}" if document else str(first)]
    for problem in others:
        place = f"line {document.line(problem.location)}: " if document else ""
        lines.append(textwrap.shorten(f"also {place}{problem}", 300, placeholder=" ..."))
    if len(ordered) > MAX_SHOWN:
        lines.append(f"and {len(ordered) - MAX_SHOWN} more")
    return InputError("\n  ".join(lines))


def problems_of(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """Yield pydantic's findings about a value for `model`.

    A missing key is left out where an unknown key beside it looks like it: that is one slip of the pen.
    """
    found = [
        (details, _Place.of(details, model)) for details in error.errors(include_url=False) if not _is_echo(details)
    ]
    missing = {place.location for details, place in found if details["type"] == "missing"}
    for details, place in found:
        if details["type"] == "extra_forbidden":
            *around, key = place.location
            beside = [str(at[-1]) for at in missing if at[:-1] == tuple(around)]
            missing -= {(*around, close) for close in get_close_matches(str(key), beside)}
    for details, place in found:
        if details["type"] != "missing" or place.location in missing:
            yield Problem(place.location, _message(details, place))


def _is_echo(details: ErrorDetails) -> bool:
    """Tell whether a list is found too short only because entries of it were found wrong."""
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


class _Place(NamedTuple):
    """Where a finding is, without the names of union members that pydantic puts between."""

    location: Location
    field: FieldInfo | None
    models: list[type[BaseModel]]

    @classmethod
    def of(cls, details: ErrorDetails, model: type[BaseModel]) -> _Place:
        steps, tail = details["loc"], details["loc"][:0]
        if details["type"] == "extra_forbidden":
            steps, tail = steps[:-1], steps[-1:]
        elif details["type"].startswith("union_tag"):
            tail = ("kind",)
        location: Location = ()
        field, models = None, [model]
        for step in steps:
            if isinstance(step, int):
                location, field = (*location, step), None
            elif step in (fields := _fields(models)):
                location, field = (*location, step), fields[step]
                models = _models(field.annotation)
            else:
                models = [m for m in models if step in _kinds(m)] or models
        return cls(location + tail, field, models)


def _fields(models: list[type[BaseModel]]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for model in models for name, field in model.model_fields.items()}


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    return get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


def _message(details: ErrorDetails, place: _Place) -> str:
    value, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "missing":
            return "is missing; add the key"
        case "union_tag_not_found":
            return f"is missing; add the key with one of {', '.join(k for m in place.models for k in _kinds(m))}"
        case "extra_forbidden":
            return not_among(str(place.location[-1]), _fields(place.models)).replace("name", "key", 1)
        case "union_tag_invalid" | "literal_error":
            expected = re.split(", | or ", context.get("expected_tags") or context["expected"])
            return not_among(str(context.get("tag", value)), [name.strip("'") for name in expected])
        case "value_error":
            return str(context["error"])
    bounds = {key: f"{bound:g}" if isinstance(bound, float) else bound for key, bound in context.items()}
    rule = _RULES[details["type"]].format(**bounds) if details["type"] in _RULES else details["msg"]
    return f"{rule}, got {show(value)}{_fix(details['type'], value, place.field)}"


def not_among(name: str, names: Iterable[str]) -> str:
    """Return the message for a `name` that is not among `names`; of many, it shows the closest."""
    names = list(names)
    if len(names) > _LISTED:
        names = get_close_matches(name, names, n=_LISTED, cutoff=0)
    return str(unknown("", name[:_WIDTH], names)).removeprefix(": ")


def show(value: Any) -> str:
    """Return `value` as the spec could write it, shortened; without what a terminal would act on."""
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False, default=repr)
    text = text if text.isprintable() else json.dumps(value, default=repr)
    return text if len(text) <= _WIDTH else text[:_WIDTH] + "..."


def _fix(kind: str, value: Any, field: FieldInfo | None) -> str:
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f'; put it in quotes: "{show(value)}"'
    if kind in {"tuple_type", "list_type"} and isinstance(value, str | int | float):
        return f"; write [{show(value)}]"
    if field is not None and isinstance(field.default, bool | int | float | str | tuple):
        return f"; the default is {show(field.default)}"
    return "; write a value after the colon" if value is None else ""
