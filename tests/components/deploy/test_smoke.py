from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from components.deploy.protocol import as_inputs
from components.deploy.smoke import ServingError, call, running, serving
from components.prepared import Prepared


def test_expected_probabilities_pass_and_others_do_not(bundle: Path, prepared: Prepared) -> None:
    inputs = as_inputs(prepared.encoder, {str(k): v.tolist() for k, v in prepared.frame("test").head(1).items()})
    gate = serving(bundle, "adult-income", inputs, np.float32([[2.0, -1.0]]), 1e-4)
    assert not gate.passed
    assert gate.value is not None
    right = np.float32([[2.0 - gate.value, -1.0 + gate.value]])
    assert serving(bundle, "adult-income", inputs, right, 1e-4).passed


def test_a_server_that_does_not_start_fails_the_gate(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "copy")
    (tmp_path / "copy" / "model.onnx").write_bytes(b"")
    gate = serving(tmp_path / "copy", "adult-income", [], np.float32([[1, 0]]), 1e-4)
    assert not gate.passed
    assert "the server ended at once" in gate.text
    assert "model.onnx was changed" in gate.text


def test_an_answer_that_is_no_prediction_fails_the_gate(bundle: Path) -> None:
    gate = serving(bundle, "other", [], np.float32([[1, 0]]), 1e-4)
    assert not gate.passed
    assert "404" in gate.text


def test_the_server_is_gone_afterwards(bundle: Path) -> None:
    with running(bundle) as url:
        call(url, "/v2/health/ready")
    with pytest.raises(ServingError, match="refused"):
        call(url, "/v2/health/ready")
