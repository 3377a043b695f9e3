from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.driver_faults import driver_killed


def test_a_few_kills_of_the_driver_lose_and_repeat_nothing(tmp_path: Path) -> None:
    found = driver_killed(tmp_path, seed=11, runs=5)
    assert found.to_json() == {"name": "driver killed", "runs": 5, "lost": 0, "duplicated": 0, "invalid": 0}


@pytest.mark.chaos
def test_fifty_kills_of_the_driver_lose_and_repeat_nothing(tmp_path: Path) -> None:
    found = driver_killed(tmp_path, seed=1, runs=50)
    assert found.to_json() == {"name": "driver killed", "runs": 50, "lost": 0, "duplicated": 0, "invalid": 0}
