"""The last gate: the server is started for real, asked over HTTP, and stopped."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from components.deploy.gates import Gate

_START_SECONDS = 60.0
_ANSWER_SECONDS = 30.0


class ServingError(Exception):
    """The server did not start, or did not answer as it should."""


def serving(
    bundle: Path, name: str, inputs: Sequence[Mapping[str, Any]], expected: np.ndarray, tolerance: float
) -> Gate:
    """Serve `bundle` on a free local port, ask model `name` for predictions, and compare them.

    `inputs` are those of an Open Inference Protocol request, for rows whose probabilities are `expected`, float32
    (rows, classes).
    """
    started = time.monotonic()
    try:
        with running(bundle) as url:
            call(url, "/v2/health/ready")
            seconds = time.monotonic() - started
            answer = call(url, f"/v2/models/{name}/infer", {"inputs": list(inputs)})
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        actual = np.array(outputs["probabilities"], np.float64).reshape(expected.shape)
    except (ServingError, KeyError, TypeError, ValueError) as error:
        return Gate("serving", passed=False, value=None, limit=tolerance, text=f"{type(error).__name__}: {error}")
    off = float(np.abs(actual - expected).max())
    text = f"ready after {seconds:.1f} s; {len(expected)} raw rows answered over HTTP, probabilities within {off:.1e}"
    return Gate("serving", off <= tolerance, off, tolerance, text)


@contextmanager
def running(path: Path, *options: str) -> Iterator[str]:
    """Run a server of `path` as a process of its own and give its URL; ServingError if it does not start."""
    command = [sys.executable, "-m", "components.deploy.server", str(path), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield _first_line(process).rpartition(" ")[2]
        finally:
            process.terminate()
            try:
                process.communicate(timeout=_ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def call(url: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Get `path`, or post `body` to it, as JSON; ServingError if the answer is not 200."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        text = response.read()
    except (OSError, HTTPException) as error:
        raise ServingError(f"{path}: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise ServingError(f"{path}: {response.status} {text.decode(errors='replace')[:500]}")
    answer: dict[str, Any] = json.loads(text)
    return answer


def _first_line(process: subprocess.Popen[bytes]) -> str:
    """Return what the server says once it listens."""
    assert process.stdout is not None  # noqa: S101 - it was opened with pipes
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(_START_SECONDS):
            raise ServingError(f"the server was not ready after {_START_SECONDS:g} s")
    line = process.stdout.readline().decode().strip()
    if not line:
        _, said = process.communicate()
        raise ServingError(f"the server ended at once: {said.decode(errors='replace')[-500:].strip()}")
    return line
