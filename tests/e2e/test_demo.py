"""The demo's spec, whole: what its readers are promised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Evernas


@pytest.mark.slow
def test_the_demo_keeps_its_promises(tmp_path: Path, evernas: Evernas) -> None:
    done = evernas("run", "examples/adult/spec.yaml", "--force", "--root", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "latest" / "summary.json").read_text())
    seconds = summary["seconds"]
    assert summary["candidates"] >= 30
    assert min(summary["champion"]["test_accuracy"]["seeds"]) >= 0.85
    assert len(summary["champion"]["test_accuracy"]["seeds"]) == 3
    assert seconds["total"] - seconds["search"] - seconds["retrain"] - seconds["fairness"] < 60
