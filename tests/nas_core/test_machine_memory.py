from __future__ import annotations

from pathlib import Path

import pytest

from nas_core.machine_memory import available_mb, resident_mb

FREE = "MemTotal:       10000 kB\nMemAvailable:    5000 kB\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text(FREE)
    return tmp_path / "proc"


def test_what_the_machine_has(proc: Path, tmp_path: Path) -> None:
    assert available_mb(proc, tmp_path / "none") == pytest.approx(5.12)


@pytest.mark.parametrize(
    ("most", "used", "expected"), [("3000000", "1000000", 2.0), ("max", "1", 5.12), ("1000", "2000", 0.0)]
)
def test_a_group_of_the_second_version(proc: Path, tmp_path: Path, most: str, used: str, expected: float) -> None:
    groups = tmp_path / "groups"
    groups.mkdir()
    (groups / "memory.max").write_text(most)
    (groups / "memory.current").write_text(used)
    assert available_mb(proc, groups) == pytest.approx(expected)


@pytest.mark.parametrize(("most", "expected"), [("3000000", 2.0), ("9223372036854771712", 5.12)])
def test_a_group_of_the_first_version(proc: Path, tmp_path: Path, most: str, expected: float) -> None:
    groups = tmp_path / "groups" / "memory"
    groups.mkdir(parents=True)
    (groups / "memory.limit_in_bytes").write_text(most)
    (groups / "memory.usage_in_bytes").write_text("1000000")
    assert available_mb(proc, tmp_path / "groups") == pytest.approx(expected)


def test_nothing_is_known_where_nobody_tells(tmp_path: Path) -> None:
    assert available_mb(tmp_path, tmp_path) is None
    assert resident_mb(tmp_path) is None


def test_this_process_holds_something() -> None:
    resident, available = resident_mb(), available_mb()
    assert resident is not None
    assert resident > 10
    assert available is not None
    assert available > 0
