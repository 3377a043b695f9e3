from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("runner_overhead.py")


def test_the_cheap_lane_is_far_quicker_than_tune_and_the_record_does_not_slow_down(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = [sys.executable, SCRIPT, "--quick", "--only", "noop", "ledger", "--json", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    figures = json.loads(out.read_text())
    assert figures.keys() == {
        "noop_ratio",
        "noop_trials_per_second",
        "plain_tune_trials_per_second",
        "ledger_last_over_first",
    }
    assert figures["noop_ratio"] > 5
    assert 0 < figures["ledger_last_over_first"] < 5


def test_help_shows_how_it_is_called() -> None:
    told = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True).stdout
    assert "python tests/benchmarks/runner_overhead.py --json overhead.json" in told
