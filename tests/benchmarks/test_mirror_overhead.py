from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mirror_overhead import overhead

PROGRAM = Path(__file__).with_name("mirror_overhead.py")


def test_mirroring_costs_little_more_than_the_bare_client() -> None:
    """With wide margin, for a machine that does other things as well; the program measures it in earnest."""
    found = overhead(100)
    assert found.ratio > 0.5
    assert found.last_over_first > 0.3


@pytest.mark.slow
def test_the_program_prints_its_figures() -> None:
    command = [sys.executable, str(PROGRAM), "--candidates", "25", "--json"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROGRAM.parents[2])
    assert set(json.loads(told.stdout)) == {"mirror_ratio", "mirror_last_over_first"}
