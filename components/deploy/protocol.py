"""The Open Inference Protocol v2 in JSON: requests of raw columns, responses of probabilities and labels.

JSON has no bytes, so that images and clips are sent as base64 text. Every fault of a request is an InputError that
names the input. Light: no pandas.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.bundle import BASE64, CONTENT
from components.encoding import FILES, Encoder, text_of
from nas_core.errors import InputError

ACCEPTED = {"FP64": ("FP64", "FP32", "INT64"), "BYTES": ("BYTES",)}
"""Which datatypes may be sent for an input that is declared as the key."""


class Request(NamedTuple):
    """What a caller asks: its id, raw columns by name, and the outputs it wants."""

    id: str | None
    columns: dict[str, list[Any]]
    outputs: tuple[str, ...]


def parse(body: bytes, signature: Mapping[str, Any], max_rows: int) -> Request:
    """Read an inference request for a model with this metadata; InputError tells what is wrong with it."""
    request = _object(_json(body), "request")
    inputs = request.get("inputs")
    if not isinstance(inputs, list):
        raise InputError("inputs: expected a list of tensors, one per column")
    expected = {each["name"]: each for each in signature["inputs"]}
    columns: dict[str, list[Any]] = {}
    for i, each in enumerate(inputs):
        tensor = _object(each, f"inputs[{i}]")
        name = tensor.get("name")
        if not isinstance(name, str) or name not in expected:
            raise InputError(f"inputs[{i}]: the model has no input {name!r}; its inputs are {', '.join(expected)}")
        if name in columns:
            raise InputError(f"input {name!r}: given twice")
        columns[name] = _values(name, tensor, expected[name])
    _same_length(columns, list(expected), max_rows)
    return Request(_id(request), columns, _wanted(request, [each["name"] for each in signature["outputs"]]))


def response(signature: Mapping[str, Any], version: str, request: Request, probabilities: np.ndarray) -> dict[str, Any]:
    """Return the response for probabilities, float32 (rows, classes); tensors are flat, in row-major order."""
    rows, classes = probabilities.shape
    labels = [signature["classes"][i] for i in probabilities.argmax(axis=1)]
    outputs = {
        "probabilities": {"datatype": "FP32", "shape": [rows, classes], "data": probabilities.ravel().tolist()},
        "label": {"datatype": "BYTES", "shape": [rows], "data": labels},
    }
    answer: dict[str, Any] = {"model_name": signature["name"], "model_version": version}
    if request.id is not None:
        answer["id"] = request.id
    return {**answer, "outputs": [{"name": name, **outputs[name]} for name in request.outputs]}


def as_inputs(encoder: Encoder, columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return raw columns as the `inputs` of a request; a missing value is null, files are base64 text."""
    inputs = []
    for name, kind in encoder.columns:
        if kind == "numeric":
            numbers = np.asarray(columns[name], np.float64)
            tensor = {"datatype": "FP64", "data": [float(v) if np.isfinite(v) else None for v in numbers]}
        elif kind in FILES:
            texts = [None if value is None else base64.b64encode(value).decode() for value in columns[name]]
            tensor = {"datatype": "BYTES", "data": texts}
        else:
            tensor = {"datatype": "BYTES", "data": [text_of(value) for value in columns[name]]}
        inputs.append({"name": name, "shape": [len(columns[name])], **tensor})
    return inputs


def _json(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"request: not JSON ({error}); binary tensors are not supported") from error


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON, send null for a missing number")


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{what}: expected an object, got {_short(value)}")
    return value


def _id(request: Mapping[str, Any]) -> str | None:
    given = request.get("id")
    if given is not None and not isinstance(given, str):
        raise InputError(f"id: expected a string, got {_short(given)}")
    if given is not None and not given.isprintable():
        raise InputError(f"id: expected text that can be printed, got {_short(given)}")
    return given


def _wanted(request: Mapping[str, Any], known: Sequence[str]) -> tuple[str, ...]:
    asked = request.get("outputs")
    if not asked:
        return tuple(known)
    names = [each.get("name") if isinstance(each, dict) else None for each in asked] if isinstance(asked, list) else []
    if not names or any(name not in known for name in names):
        raise InputError(f"outputs: expected a list of {', '.join(known)} by name, got {_short(asked)}")
    return tuple(name for name in known if name in names)


def _values(name: str, tensor: Mapping[str, Any], declared: Mapping[str, Any]) -> list[Any]:
    datatype, data, accepted = tensor.get("datatype"), tensor.get("data"), ACCEPTED[declared["datatype"]]
    if datatype not in accepted:
        raise InputError(f"input {name!r}: datatype must be {' or '.join(accepted)}, got {_short(datatype)}")
    if not isinstance(data, list):
        raise InputError(f"input {name!r}: expected its values as a list in `data`; binary tensors are not supported")
    values = [each[0] if isinstance(each, list) and len(each) == 1 else each for each in data]
    if tensor.get("shape") not in ([len(values)], [len(values), 1]):
        raise InputError(
            f"input {name!r}: shape must be [{len(values)}] or [{len(values)}, 1] for the {len(values)} values in "
            f"`data`, got {_short(tensor.get('shape'))}"
        )
    for i, value in enumerate(values):
        if value is not None and not _fits(value, datatype):
            raise InputError(f"input {name!r}: value {i} must be {datatype} or null, got {_short(value)}")
    return _files(name, values) if declared.get("parameters", {}).get(CONTENT) == BASE64 else values


def _files(name: str, values: Sequence[str | None]) -> list[bytes | None]:
    found = []
    for i, value in enumerate(values):
        try:
            found.append(None if value is None else base64.b64decode(value, validate=True))
        except ValueError as error:
            raise InputError(
                f"input {name!r}: value {i} must be the base64 text of a file, got {_short(value)} ({error})"
            ) from error
    return found


def _fits(value: Any, datatype: str) -> bool:
    if datatype == "BYTES":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int if datatype == "INT64" else int | float):
        return False
    return abs(value) < (2**63 if datatype == "INT64" else sys.float_info.max)


def _same_length(columns: Mapping[str, Sequence[Any]], names: Sequence[str], max_rows: int) -> None:
    absent = [name for name in names if name not in columns]
    if absent:
        raise InputError(f"inputs: {', '.join(map(repr, absent))} missing; send every input, null for missing values")
    rows = {name: len(columns[name]) for name in names}
    first, count = next(iter(rows.items()))
    other = next((name for name in names if rows[name] != count), None)
    if other is not None:
        raise InputError(f"input {other!r}: has {rows[other]} rows, but {first!r} has {count}")
    if not 1 <= count <= max_rows:
        raise InputError(f"input {first!r}: 1 to {max_rows} rows a request, got {count}")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
