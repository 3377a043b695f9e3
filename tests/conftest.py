"""What all tests share: where real data lies, one torch thread, reproducible property tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
DATA = Path(os.environ.get("EVERNAS_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

settings.register_profile("evernas", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("evernas")


@pytest.fixture
def data() -> Path:
    """The folder of real data sets; the test is skipped where there is none."""
    if not DATA.is_dir():
        pytest.skip(f"no test data at {DATA}; set EVERNAS_TEST_DATA to its folder")
    return DATA


@pytest.fixture(autouse=True)
def own_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's signing key, nor the user's anchors."""
    monkeypatch.setenv("EVERNAS_SIGNING_KEY", str(tmp_path_factory.getbasetemp() / "signing.pem"))
    monkeypatch.setenv("EVERNAS_ANCHORS", str(tmp_path_factory.getbasetemp() / "anchors"))
