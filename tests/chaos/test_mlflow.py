from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.mlflow_faults import mlflow_killed, mlflow_refuses


def survived(verdict: dict[str, Any]) -> bool:
    return verdict["runs"] == 1 and not any(verdict[key] for key in ("lost", "duplicated", "invalid"))


def test_a_server_that_is_killed_once_has_everything_once_in_the_end(tmp_path: Path) -> None:
    verdict = mlflow_killed(tmp_path, 0, candidates=60, kills=1)
    assert survived(verdict), verdict


@pytest.mark.chaos
@pytest.mark.parametrize("fault", [mlflow_killed, mlflow_refuses])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_server_in_trouble_has_everything_once_in_the_end(
    tmp_path: Path, fault: Callable[[Path, int], dict[str, Any]], seed: int
) -> None:
    verdict = fault(tmp_path, seed)
    assert survived(verdict), verdict
