from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from components.bundle import open_model
from components.deploy.protocol import as_inputs
from components.deploy.smoke import running
from components.prepared import Prepared

MODEL = "/v2/models/adult-income"


@pytest.fixture(scope="module")
def url(bundle: Path) -> Iterator[str]:
    with running(bundle, "--max-rows", "500", "--max-bytes", "300000") as address:
        yield address


def ask(url: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def inputs_of(prepared: Prepared, start: int, stop: int) -> list[dict[str, Any]]:
    frame = prepared.frame("test")[start:stop].astype(object)
    columns = {str(name): column.where(column.notna(), None).tolist() for name, column in frame.items()}
    return as_inputs(prepared.encoder, columns)


def infer(url: str, inputs: list[dict[str, Any]], **more: Any) -> tuple[int, dict[str, Any]]:
    return ask(url, f"{MODEL}/infer", json.dumps({"inputs": inputs, **more}).encode())


def run_server(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "components.deploy.server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        (f"{MODEL}/ready", {"name": "adult-income", "ready": True}),
    ],
)
def test_health_is_told(url: str, path: str, expected: dict[str, Any]) -> None:
    assert ask(url, path) == (200, expected)


def test_the_server_says_what_it_speaks(url: str) -> None:
    status, answer = ask(url, "/v2")
    assert status == 200
    assert (answer["name"], answer["extensions"]) == ("evernas", [])


def test_metadata_tell_what_to_send(url: str, bundle: Path) -> None:
    status, answer = ask(url, MODEL)
    assert status == 200
    assert answer["versions"] == [open_model(bundle).digest[:12]]
    assert {"name": "age", "datatype": "FP64", "shape": [-1]} in answer["inputs"]
    assert {"name": "sex", "datatype": "BYTES", "shape": [-1]} in answer["inputs"]
    assert [output["name"] for output in answer["outputs"]] == ["probabilities", "label"]


def test_raw_rows_are_answered_with_the_models_probabilities(url: str, bundle: Path, prepared: Prepared) -> None:
    status, answer = infer(url, inputs_of(prepared, 0, 200), id="mine")
    assert status == 200
    assert (answer["id"], answer["model_version"]) == ("mine", open_model(bundle).digest[:12])
    probabilities, label = answer["outputs"]
    assert probabilities["shape"] == [200, 2]
    inputs, _ = prepared.arrays("test")
    model = open_model(bundle)
    names = [port.name for port in model.session.get_inputs()]
    expected = model.session.run(None, dict(zip(names, (array[:200] for array in inputs), strict=True)))[0]
    np.testing.assert_allclose(np.array(probabilities["data"]).reshape(200, 2), expected, atol=1e-6)
    assert label["data"] == [prepared.classes[i] for i in expected.argmax(axis=1)]


def test_missing_values_are_null(url: str, prepared: Prepared) -> None:
    inputs = [{**each, "shape": [1], "data": [None]} for each in inputs_of(prepared, 0, 1)]
    status, answer = infer(url, inputs)
    assert status == 200
    assert np.isfinite(answer["outputs"][0]["data"]).all()


def test_requests_at_the_same_time_do_not_mix(url: str, prepared: Prepared) -> None:
    rows = range(0, 480, 20)
    alone = [infer(url, inputs_of(prepared, i, i + 20))[1]["outputs"] for i in rows]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: infer(url, inputs_of(prepared, i, i + 20))[1]["outputs"], rows))
    assert together == alone


@pytest.mark.parametrize("path", ["/v2/models/other", "/v2/models/other/ready", "/v2/models/%ff", "/nothing"])
def test_what_is_not_here_is_not_found(url: str, path: str) -> None:
    status, answer = ask(url, path)
    assert status == 404
    assert answer["error"].startswith("GET /")


def test_another_model_gives_no_predictions(url: str) -> None:
    status, answer = ask(url, "/v2/models/other/infer", b"{}")
    assert status == 404
    assert "no model 'other' here; this server has 'adult-income'" in answer["error"]


def test_a_fault_of_the_request_is_told(url: str, prepared: Prepared) -> None:
    first, *others = inputs_of(prepared, 0, 1)
    status, answer = infer(url, others)
    assert (status, answer) == (
        400,
        {"error": f"inputs: '{first['name']}' missing; send every input, null for missing values"},
    )


def test_too_many_rows_are_refused(url: str, prepared: Prepared) -> None:
    status, answer = infer(url, inputs_of(prepared, 0, 501))
    assert (status, answer) == (400, {"error": "input 'age': 1 to 500 rows a request, got 501"})


def test_too_large_a_body_is_refused(url: str) -> None:
    status, answer = ask(url, f"{MODEL}/infer", b" " * 300_001)
    assert (status, answer) == (400, {"error": "request: more than 300000 bytes; send fewer rows at a time"})


def test_binary_tensors_are_refused(url: str) -> None:
    status, answer = ask(url, f"{MODEL}/infer", b"{}", **{"Inference-Header-Content-Length": "2"})
    assert status == 400
    assert "binary tensors are not supported" in answer["error"]


def test_predictions_are_asked_for_by_post(url: str) -> None:
    assert ask(url, f"{MODEL}/infer")[0] == 405


def test_it_stops_when_it_is_told_to(bundle: Path) -> None:
    command = [sys.executable, "-m", "components.deploy.server", str(bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        assert ask(address, "/v2/health/ready")[0] == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (-signal.SIGTERM, "")


def test_a_running_request_is_answered_before_it_stops(bundle: Path, prepared: Prepared) -> None:
    body = json.dumps({"inputs": inputs_of(prepared, 0, 10)}).encode()
    command = [sys.executable, "-m", "components.deploy.server", str(bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        connection = HTTPConnection(urlsplit(process.stdout.readline().split()[-1]).netloc, timeout=30)
        connection.putrequest("POST", f"{MODEL}/infer")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:100])
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.send(body[100:])
        assert connection.getresponse().status == 200
        connection.close()


def test_it_starts_without_torch_and_pandas(bundle: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from components.deploy.server import open_bundle, predict\n"
        "open_bundle(Path(sys.argv[1]))\n"
        "print(*{'torch', 'pandas', 'sklearn', 'pyarrow', 'pydantic', 'onnx', 'matplotlib'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script, bundle], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_folder_of_champions_serves_the_champion(bundle: Path) -> None:
    with running(bundle.parents[1]) as address:
        assert ask(address, MODEL)[1]["versions"] == [bundle.name[:12]]


def test_a_changed_bundle_is_not_served(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "copy")
    encoder = tmp_path / "copy" / "encoder.json"
    encoder.write_text(encoder.read_text().replace("Private", "Publick"))
    done = run_server(str(tmp_path / "copy"), "--port", "0")
    assert done.returncode == 5
    assert "encoder.json was changed after the bundle was signed" in done.stderr


def test_a_bundle_in_the_champions_place_is_not_served(bundle: Path, tmp_path: Path) -> None:
    champions = shutil.copytree(bundle.parents[1], tmp_path / "champions")
    pointer = champions / "champion.json"
    pointer.write_text(pointer.read_text().replace(bundle.name, "0" * 64))
    (champions / "bundles" / bundle.name).rename(champions / "bundles" / ("0" * 64))
    assert run_server(str(champions), "--port", "0").returncode == 5


def test_a_bundle_of_another_key_is_not_served(bundle: Path) -> None:
    done = run_server(str(bundle), "--port", "0", "--key", "0" * 64)
    assert done.returncode == 5
    assert f"trusted is {'0' * 64} only" in done.stderr


def test_without_a_champion_there_is_nothing_to_serve(tmp_path: Path) -> None:
    done = run_server(str(tmp_path))
    assert done.returncode == 2
    assert "neither a bundle nor a folder with a champion; deploy a model first" in done.stderr


def test_a_port_that_is_taken_is_told(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_server(str(bundle), "--port", str(port))
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use); choose another" in done.stderr


def test_a_port_that_cannot_be_is_told(bundle: Path) -> None:
    done = run_server(str(bundle), "--port", "70000")
    assert done.returncode == 2
    assert "cannot listen on 127.0.0.1:70000" in done.stderr
