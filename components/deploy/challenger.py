"""The challenger as it would be deployed: exported, run on the rows that it is judged by, and measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.bundle import open_session, run_batches
from components.deploy import gates
from components.deploy.export import export
from components.deploy.gates import Gate
from components.model import load_model, predict
from components.prepared import Prepared

_BATCHES = (1, 1, 2, 7, 64, 512)
"""Rows at a time, the last again and again: a graph may be right only for the batch it was traced with."""


@dataclass(frozen=True)
class Challenger:
    """The exported model, and its probabilities of the test rows, float32 (rows, classes), by ONNX Runtime."""

    onnx: bytes
    probabilities: np.ndarray
    parity: Gate
    latency_ms: tuple[float, float]


def measure(prepared: Prepared, model: Path, max_parity_error: float) -> Challenger:
    """Export the model in folder `model` and measure it on all test and validation rows.

    `latency_ms` are median and 95th percentile. NotExportableError if it cannot be exported.
    """
    module = load_model(model)
    test, validation = prepared.arrays("test"), prepared.arrays("validation")
    inputs = tuple(np.concatenate(pair) for pair in zip(test[0], validation[0], strict=True))
    targets = np.concatenate((test[1], validation[1]))
    onnx = export(module, prepared.signature, tuple(array[:3] for array in inputs))
    session = open_session(onnx)
    actual = run_batches(session, inputs, _BATCHES)
    parity = gates.parity(predict(module, inputs), actual, targets, max_parity_error)
    return Challenger(onnx, actual[: len(test[1])], parity, gates.time_rows(session, test[0]))
