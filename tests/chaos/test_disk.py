from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.disk_faults import can_mount, disk_full


def test_a_full_disk_stops_the_search_and_loses_nothing(tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("a small filesystem cannot be mounted here; it takes a privileged user")
    assert disk_full(tmp_path, seed=0).to_json() == {
        "name": "disk full",
        "runs": 1,
        "lost": 0,
        "duplicated": 0,
        "invalid": 0,
    }
