"""The examples of images, text and audio: what they promise, small here and whole in the slow tests."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from components.sources import read
from components.spec import NpzSource
from nas_core.ledger import Ledger
from nas_core.store import FolderStore
from tests.e2e.conftest import ROOT, Evernas
from tests.e2e.specs import changed

EXAMPLES = {"fashion_mnist": None, "small_and_fast": None, "questions": "trec", "spoken_digits": "fsdd_small.npz"}
"""Each example, and which of the real data sets it is given."""

SMALL: dict[str, Any] = {
    "search.budget": {"trials": 2},
    "search.estimator.epochs": 1,
    "search.runner": {"kind": "local"},
    "retrain.seeds": 1,
}


def run(evernas: Evernas, spec: Path, source: Path | None, root: Path) -> dict[str, Any]:
    where = ["--data", source] if source else []
    done = evernas("run", spec, *where, "--root", root, "--json", timeout=1500)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


@pytest.mark.parametrize(
    "name", [name if name == "small_and_fast" else pytest.param(name, marks=pytest.mark.slow) for name in EXAMPLES]
)
def test_a_small_cycle_ends_with_a_served_model(name: str, evernas: Evernas, data: Path, tmp_path: Path) -> None:
    """Promoted means: better than the classes' shares, and raw rows were answered over HTTP as torch answers them."""
    spec = yaml.safe_load((ROOT / "examples" / name / "spec.yaml").read_text())
    epochs = {"fashion_mnist": 1, "small_and_fast": 1, "questions": 2, "spoken_digits": 8}[name]
    changes = {**SMALL, "retrain.options": {"epochs": epochs}, "retrain.space": {}}
    if name in ("fashion_mnist", "small_and_fast"):
        changes["search.space.channels"] = 4
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(changed(spec, changes)))
    source = EXAMPLES[name]
    summary = run(evernas, path, data / source if source else None, tmp_path / "runs")
    assert summary["decision"] == "promoted"


def test_recordings_are_packed_as_the_spec_reads_them(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for digit, speaker, take in product((3, 7), ("ann", "bob"), (0, 1)):
        with wave.open(str(folder / f"{digit}_{speaker}_{take}.wav"), "wb") as clip:
            clip.setnchannels(1)
            clip.setsampwidth(2)
            clip.setframerate(8000)
            clip.writeframes(np.full(100, digit, np.int16).tobytes())
    script = ROOT / "examples" / "spoken_digits" / "pack.py"
    command = [sys.executable, str(script), str(folder), str(tmp_path / "digits.npz"), "--takes", "1"]
    subprocess.run(command, env=environment, check=True)
    packed = read(NpzSource(kind="npz", path="digits.npz"), tmp_path)
    assert packed["label"].tolist() == [3, 3, 7, 7]
    assert packed["speaker"].tolist() == ["ann", "bob"] * 2
    assert set(packed) == {"audio", "label", "speaker"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["te_nas", "spos"])
def test_a_supernet_leads_to_a_served_model_and_is_on_record(name: str, evernas: Evernas, tmp_path: Path) -> None:
    summary = run(evernas, ROOT / "examples" / "weight_sharing" / f"{name}.yaml", None, tmp_path)
    assert summary["decision"] == "promoted"
    assert summary["champion"]["test_accuracy"]["mean"] > 0.7
    entries = Ledger(FolderStore(tmp_path / "latest")).entries({"supernet"})
    assert [entry.data["kind"] for entry in entries] == [name.replace("_", "-")]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_whole_example_is_at_least_as_good_as_its_baseline(
    name: str, evernas: Evernas, data: Path, tmp_path: Path
) -> None:
    source = EXAMPLES[name]
    spec = ROOT / "examples" / name / "spec.yaml"
    summary = run(evernas, spec, data / source if source else None, tmp_path)
    assert summary["champion"]["test_accuracy"]["mean"] >= summary["baseline"]["test_accuracy"]
