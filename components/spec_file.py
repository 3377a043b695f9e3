"""The spec as a file: reading it, checking it against what is installed, and its JSON Schema.

Every error is an `InputError` such as `spec.yaml:14: search.budget.trials: must be at least 1, got 0`.
"""

from __future__ import annotations

import copy
import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.parts import GROUPS, options_model
from components.spec import Spec
from components.spec_errors import Problem, combined, problems_of
from components.spec_rules import broken_rules
from components.yaml_lines import Document, read_yaml
from nas_core import registry
from nas_core.errors import InputError
from nas_core.registry import Group

MAX_BYTES = 2**20
_TOO_LARGE = "must be at most 1 MiB, got more; a spec names its data by path, remove what else is in it"


def read_spec(path: Path) -> Spec:
    """Return the spec in the file `path`; InputError for all that `parse_spec` refuses, and for no such file."""
    return parse_spec(read_text(path), str(path))


def parse_spec(text: str, origin: str) -> Spec:
    """Return the spec that the YAML `text` says; `origin` names it in errors. Light: reads no data, loads no torch.

    InputError, with the line, for what is no YAML of our kind, unknown, missing or ill-typed keys, values out of
    range, kinds and metrics that do not exist, and keys that contradict each other.
    """
    return _parse(text, origin)[0]


def check_file(path: Path, data: Path | None = None) -> tuple[Spec, str]:
    """Return the spec in the file `path`, and its text, after everything that can be checked before a run.

    `data` takes the place of `task.source.path`, in both of what is returned. Errors have lines of the file.
    """
    from components.spec_check import failed_checks

    text = read_text(path)
    spec, document = _parse(text, str(path))
    if data is not None:
        text = _with_data(document, data)
        spec, _ = _parse(text, str(path))
    _refuse(failed_checks(spec, path.parent), str(path), document)
    return spec, text


def _with_data(document: Document, data: Path) -> str:
    """Return the spec of `document` as JSON, which is YAML as well, with `data` as the path of the task's source."""
    value = copy.deepcopy(document.value)
    source = value["task"]["source"]
    if "path" not in source:
        raise InputError(
            f"--data: the spec's source is {source.get('name', source['kind'])!r}, which has no path; "
            "leave it out, or give task.source a kind that reads files"
        )
    source["path"] = str(data.resolve())
    return json.dumps(value, indent=1)


def check_spec(spec: Spec, base: Path) -> None:
    """Check the options of all parts and the columns of the data; InputError. Loads torch, and reads the data.

    `base` is the folder that relative paths of the spec start from.
    """
    from components.spec_check import failed_checks

    _refuse(broken_rules(spec))
    _refuse(failed_checks(spec, base))


def read_text(path: Path) -> str:
    """Return the text of the file `path`; InputError unless it is a regular file of UTF-8, 1 MiB at most."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise InputError(f"{path}: must be a file, got {_file_kind(mode)}; name the spec's YAML file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{str(path)!r}: cannot be read, {reason}; check the path to the spec") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: {_TOO_LARGE}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: must be UTF-8 text, got the byte {content[error.start]:#04x}; save the file as UTF-8"
        ) from error


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a spec, with the options of every installed part. Loads torch."""
    whole = Spec.model_json_schema()
    search = whole["$defs"]["SearchSpec"]["properties"]
    for key, group in GROUPS.items():
        alternatives = [_part_schema(group, kind, whole["$defs"]) for kind in registry.names(group)]
        search[key] = _one_of(search[key], alternatives)
    costs = [_part_schema("costs", kind, whole["$defs"]) for kind in registry.names("costs")]
    search["costs"]["items"] = {"oneOf": costs}
    trainers = [_part_schema("estimators", kind, whole["$defs"]) for kind in registry.names("estimators")]
    retrain = whole["$defs"]["RetrainSpec"]["properties"]
    retrain["estimator"] = _one_of(retrain["estimator"], trainers)
    del whole["$defs"]["Part"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_untitled(whole)}


def _one_of(reference: dict[str, Any], alternatives: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of a key that names a part, with `alternatives` for the reference to any; null if it may be."""
    nothing = [{"type": "null"}] if "anyOf" in reference else []
    kept = {k: v for k, v in reference.items() if k not in ("$ref", "anyOf")}
    return {**kept, "oneOf": [*alternatives, *nothing]}


def _part_schema(group: Group, kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    part = options_model(group, kind).model_json_schema()
    definitions.update(part.pop("$defs", {}))
    return {
        "description": registry.summary(group, kind),
        **part,
        "properties": {"kind": {"const": kind}, **part["properties"]},
        "required": ["kind", *part.get("required", [])],
    }


def _untitled(value: Any) -> Any:
    """Return `value` without the titles that pydantic makes out of names."""
    if isinstance(value, list):
        return [_untitled(item) for item in value]
    if isinstance(value, dict):
        return {k: _untitled(v) for k, v in value.items() if not (k == "title" and isinstance(v, str))}
    return value


def _parse(text: str, origin: str) -> tuple[Spec, Document]:
    if len(text) > MAX_BYTES:
        raise InputError(f"{origin}: {_TOO_LARGE}")
    document = read_yaml(text, origin)
    if document.value is None:
        raise InputError(f"{origin}: is empty; begin with `name: my-model`, see the guide to the spec")
    try:
        spec = Spec.model_validate_json(json.dumps(document.value))
    except ValidationError as error:
        raise combined(problems_of(error, Spec), origin, document) from error
    _refuse(broken_rules(spec), origin, document)
    return spec, document


def _refuse(problems: Iterable[Problem], origin: str = "", document: Document | None = None) -> None:
    if found := list(problems):
        raise combined(found, origin, document)


def _file_kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
