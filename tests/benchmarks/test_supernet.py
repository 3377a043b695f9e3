"""The benchmark of supernets at its smallest. The reference is a checkout outside the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("supernet.py")
REFERENCE = os.environ.get("EVERNAS_AUTODL")
SMALL = ["--turns", "1", "--channels", "4", "--cells", "1", "--batch", "4", "--side", "16"]


@pytest.mark.skipif(not REFERENCE, reason="set EVERNAS_AUTODL to a checkout of D-X-Y/AutoDL-Projects")
def test_both_compute_the_same_and_are_timed(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = [sys.executable, SCRIPT, "--reference", str(REFERENCE), *SMALL, "--json", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    figures = json.loads(out.read_text())["speed"]
    assert figures.keys() == {"darts", "single_path", "logits"}
    assert figures["logits"] < 1e-4
    assert min(figures["darts"], figures["single_path"]) > 0.5


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "--reference", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "must be a checkout of D-X-Y/AutoDL-Projects" in done.stderr
