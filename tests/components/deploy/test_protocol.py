from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from components.bundle import describe
from components.deploy.protocol import as_inputs, parse, response
from components.encoding import Categorical, Encoder, Numeric
from components.encodings.image import Image
from nas_core.errors import InputError

ENCODER = Encoder((Numeric.fit("age", np.array([20.0, 60.0])),), (Categorical("job", ("cook", "nurse")),))
SIGNATURE = describe("jobs", ENCODER, ("no", "yes"))
AGE = {"name": "age", "datatype": "FP64", "shape": [2], "data": [30.5, None]}
JOB = {"name": "job", "datatype": "BYTES", "shape": [2], "data": ["cook", None]}


def asked(inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


def refused(body: bytes) -> str:
    with pytest.raises(InputError) as caught:
        parse(body, SIGNATURE, max_rows=3)
    return str(caught.value)


def test_a_request_is_columns_by_name_in_any_order() -> None:
    request = parse(asked([JOB, AGE], id="7"), SIGNATURE, 3)
    assert request.id == "7"
    assert request.columns == {"age": [30.5, None], "job": ["cook", None]}
    assert request.outputs == ("probabilities", "label")


@pytest.mark.parametrize(("datatype", "data"), [("FP64", [1.5, 2]), ("FP32", [1.5, 2]), ("INT64", [1, 2])])
def test_a_number_may_come_in_these_datatypes(datatype: str, data: list[float]) -> None:
    request = parse(asked([{**AGE, "datatype": datatype, "data": data}, JOB]), SIGNATURE, 3)
    assert request.columns["age"] == data


def test_a_column_may_have_a_second_dimension_of_one() -> None:
    request = parse(asked([{**AGE, "shape": [2, 1], "data": [[1], [2]]}, JOB]), SIGNATURE, 3)
    assert request.columns["age"] == [1, 2]


def test_single_outputs_can_be_asked_for() -> None:
    assert parse(asked([AGE, JOB], outputs=[{"name": "label"}]), SIGNATURE, 3).outputs == ("label",)


def test_unknown_parameters_are_ignored() -> None:
    assert parse(asked([{**AGE, "parameters": {"a": 1}}, JOB], parameters={"b": 2}), SIGNATURE, 3).id is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "wage"}, "inputs[0]: the model has no input 'wage'; its inputs are age, job"),
        ({"name": ["age"]}, "inputs[0]: the model has no input ['age']"),
        ({"datatype": "BYTES"}, "input 'age': datatype must be FP64 or FP32 or INT64, got \"BYTES\""),
        ({"datatype": None}, "input 'age': datatype must be FP64 or FP32 or INT64, got null"),
        ({"datatype": ["FP64"]}, "input 'age': datatype must be FP64"),
        ({"data": "30"}, "input 'age': expected its values as a list in `data`"),
        ({"data": None, "parameters": {"binary_data_size": 16}}, "binary tensors are not supported"),
        ({"data": [1, "2"]}, "input 'age': value 1 must be FP64 or null, got \"2\""),
        ({"data": [1, True]}, "input 'age': value 1 must be FP64 or null, got true"),
        ({"data": [1, [2, 3]]}, "input 'age': value 1 must be FP64 or null, got [2, 3]"),
        ({"data": [1, {}]}, "input 'age': value 1 must be FP64 or null, got {}"),
        ({"datatype": "INT64", "data": [1, 2.5]}, "input 'age': value 1 must be INT64 or null, got 2.5"),
        ({"datatype": "INT64", "data": [1, 2**63]}, "input 'age': value 1 must be INT64 or null"),
        ({"data": [1, 10**400]}, "input 'age': value 1 must be FP64 or null"),
        ({"shape": [3]}, "input 'age': shape must be [2] or [2, 1] for the 2 values in `data`, got [3]"),
        ({"shape": 2}, "input 'age': shape must be [2] or [2, 1]"),
        ({"shape": [1], "data": [1]}, "input 'job': has 2 rows, but 'age' has 1"),
    ],
)
def test_a_fault_names_the_input(change: dict[str, Any], message: str) -> None:
    assert message in refused(asked([{**AGE, **change}, JOB]))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "request: not JSON"),
        (b"\x93NUMPY", "request: not JSON"),
        (b"[" * 100_000, "request: not JSON"),
        (b'{"inputs": [NaN]}', "NaN is not JSON, send null for a missing number"),
        (b"[]", "request: expected an object, got []"),
        (b"{}", "inputs: expected a list of tensors"),
        (asked({}), "inputs: expected a list of tensors"),
        (asked([]), "inputs: 'age', 'job' missing"),
        (asked([1]), "inputs[0]: expected an object, got 1"),
        (asked([AGE]), "inputs: 'job' missing; send every input"),
        (asked([AGE, AGE, JOB]), "input 'age': given twice"),
        (asked([AGE, JOB], id=7), "id: expected a string, got 7"),
        (asked([AGE, JOB], id="\ud800"), "id: expected text that can be printed"),
        (asked([AGE, JOB], outputs=[{"name": "logits"}]), "outputs: expected a list of probabilities, label by name"),
        (asked([AGE, JOB], outputs="label"), "outputs: expected a list"),
        (asked([{**AGE, "shape": [0], "data": []}, {**JOB, "shape": [0], "data": []}]), "1 to 3 rows a request, got 0"),
        (
            asked([{**AGE, "shape": [4], "data": [1] * 4}, {**JOB, "shape": [4], "data": ["cook"] * 4}]),
            "input 'age': 1 to 3 rows a request, got 4",
        ),
    ],
)
def test_a_request_that_makes_no_sense_is_told_why(body: bytes, message: str) -> None:
    assert message in refused(body)


def test_the_response_names_model_version_and_request() -> None:
    request = parse(asked([AGE, JOB], id="7"), SIGNATURE, 3)
    answer = response(SIGNATURE, "abc", request, np.float32([[0.75, 0.25], [0.5, 0.5]]))
    assert answer == {
        "model_name": "jobs",
        "model_version": "abc",
        "id": "7",
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [2, 2], "data": [0.75, 0.25, 0.5, 0.5]},
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["no", "no"]},
        ],
    }


def test_raw_columns_become_inputs_that_the_server_reads() -> None:
    inputs = as_inputs(ENCODER, {"age": np.array([30.5, np.nan]), "job": ["cook", None], "other": [1, 2]})
    assert inputs == [AGE, JOB]
    assert parse(asked(inputs), SIGNATURE, 3).columns == {"age": [30.5, None], "job": ["cook", None]}


def test_files_are_sent_as_base64_text_and_received_as_bytes() -> None:
    encoder = Encoder((), (), (Image("photo", 8, 8, (0.0,), (1.0,)),))
    signature = describe("photos", encoder, ("no", "yes"))
    inputs = as_inputs(encoder, {"photo": [b"\x89PNG", None]})
    assert inputs == [{"name": "photo", "datatype": "BYTES", "shape": [2], "data": ["iVBORw==", None]}]
    assert parse(asked(inputs), signature, 3).columns == {"photo": [b"\x89PNG", None]}
    with pytest.raises(InputError, match=r"input 'photo': value 1 must be the base64 text of a file, got \"\*\""):
        parse(asked([{**inputs[0], "data": ["iVBORw==", "*"]}]), signature, 3)
