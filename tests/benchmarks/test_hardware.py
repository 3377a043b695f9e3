"""The benchmark of costs, at a small size."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks import hardware


def test_it_writes_what_it_found(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "hardware.json"
    command = [
        "--data",
        data,
        "--measurements",
        "60",
        "--draws",
        "2",
        "--devices",
        "fpga",
        "--rows",
        "6",
        "--json",
        out,
    ]
    found = hardware.main([str(word) for word in command])
    assert json.loads(out.read_text()) == found
    fpga = found["latency"]["fpga"]
    assert fpga["spearman"]["least"] <= fpga["spearman"]["median"] <= fpga["spearman"]["most"] <= 1
    assert len(set(fpga["draws"])) == 2
    energy = found["energy"]
    assert energy["architectures"] == 6
    assert energy["model"]["low"] <= energy["model"]["high"]
