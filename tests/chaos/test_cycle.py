from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.cycle_faults import cycle_killed


@pytest.mark.chaos
def test_a_cycle_killed_at_any_moment_comes_to_one_champion(tmp_path: Path) -> None:
    found = cycle_killed(tmp_path, seed=5, runs=6).to_json()
    assert (found["lost"], found["duplicated"], found["invalid"]) == (0, 0, 0)
