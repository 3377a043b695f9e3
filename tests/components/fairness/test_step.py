from __future__ import annotations

from pathlib import Path

import pytest

from components.fairness.stage import audit
from components.fairness.step import main
from components.run import Run


def test_the_verdict_on_the_model_that_would_be_deployed_is_recorded(stepped: Run, tmp_path: Path) -> None:
    model = stepped.folder / "retrain" / stepped.results()["retrain"]["model"]
    spec = stepped.spec
    expected = audit(spec.fairness, stepped.folder / "data_prep", model, spec.seed, tmp_path)
    assert stepped.results()["fairness"] == expected


def test_done_again_it_returns_what_is_on_record(stepped: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.fairness.step.audit", lambda *_: pytest.fail("it was audited again"))
    assert main(str(stepped.root), "one") == stepped.results()["fairness"]
