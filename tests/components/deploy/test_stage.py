from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from components.bundle import open_model, read
from components.champion import Champion, champion
from components.prepared import Prepared
from nas_core.errors import IntegrityError

DIE_BEFORE_THE_POINTER = """
import json, os, signal, sys
from pathlib import Path
from components.deploy.stage import deploy
from components.spec import DeploySpec
given = json.loads(sys.argv[1])
paths = {name: Path(given.pop(name)) for name in ("data", "model", "champions", "out")}
deploy(DeploySpec(), **given, **paths, before_promotion=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""


def current(champions: Path) -> Champion:
    found = champion(champions)
    assert found is not None
    return found


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def gate(result: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in result["gates"] if each["gate"] == name)
    return found


def test_a_first_model_that_passes_is_the_champion(promoted: dict[str, Any]) -> None:
    result, folder = promoted, Path(promoted["bundle"])
    assert result["decision"] == "promoted"
    assert [each["gate"] for each in result["gates"]] == [
        "parity",
        "size",
        "latency",
        "fairness",
        "baseline",
        "serving",
    ]
    assert all(each["passed"] for each in result["gates"])
    assert result["comparison"]["against"] == "class shares"
    assert result["parity_error"] < 1e-5
    assert 0 < result["latency_ms"]["median"] <= result["latency_ms"]["p95"]
    assert current(folder.parents[1]).digest == folder.name == result["digest"]
    assert open_model(folder).digest == result["digest"]
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_same_run_again_gives_the_same_answer(deployed: Any, bundle: Path) -> None:
    result = deployed.deploy()
    assert (result["decision"], result["digest"]) == ("promoted", bundle.name)
    assert current(deployed.champions).previous is None


def test_a_challenger_that_is_not_provably_better_is_not_promoted(deployed: Any, bundle: Path) -> None:
    before = snapshot(deployed.champions)
    result = deployed.deploy(run="run-2")
    assert result["decision"] == "kept"
    assert result["comparison"]["champion"] == bundle.name
    assert result["reason"].startswith(f"not provably better than the champion {bundle.name[:12]}")
    assert "serving" not in {each["gate"] for each in result["gates"]}
    assert snapshot(deployed.champions) == before
    assert read(Path(result["bundle"])).digest == result["digest"]


def test_a_better_challenger_takes_the_champions_place(
    world: Any, prepared: Prepared, train: Callable[..., Path], tmp_path: Path
) -> None:
    weak = world.deploy(train(prepared, tmp_path / "weak", steps=10))
    assert weak["decision"] == "promoted"
    result = world.deploy(run="run-2")
    assert result["decision"] == "promoted"
    assert result["comparison"]["lower"] > 0
    assert (current(world.champions).digest, current(world.champions).previous) == (result["digest"], weak["digest"])
    assert len(list((world.champions / "bundles").iterdir())) == 2


def test_every_failed_gate_is_told_and_the_champion_is_untouched(
    deployed: Any, prepared: Prepared, train: Callable[..., Path], tmp_path: Path
) -> None:
    before = snapshot(deployed.champions)
    result = deployed.deploy(
        train(prepared, tmp_path / "untrained", steps=0),
        run="run-2",
        max_parity_error=1e-12,
        max_latency_ms=1e-6,
        max_size_mb=1e-6,
        min_metric=0.99,
        fairness={
            "verdict": "fail",
            "metric": "accuracy",
            "blocking": True,
            "attributes": {"sex": {"verdict": "fail", "difference": 0.3, "interval": [0.2, 0.4], "reason": ""}},
        },
    )
    failed = ["parity", "size", "latency", "min_metric", "fairness", "champion"]
    assert result["decision"] == "blocked"
    assert [each["gate"] for each in result["gates"] if not each["passed"]] == failed
    assert all(f"{name}: " in result["reason"] for name in failed)
    assert snapshot(deployed.champions) == before


def test_what_was_waived_is_passed_and_the_card_says_so(world: Any) -> None:
    said = {"size": "waived by ada: there is room", "parity": "waived by ada: who cares"}
    result = world.deploy(max_size_mb=1e-6, waived=said)
    (size,) = (each for each in result["gates"] if each["gate"] == "size")
    assert result["decision"] == "promoted"
    assert size["passed"]
    assert size["value"] > size["limit"]
    assert size["text"].endswith("; waived by ada: there is room")
    assert "waived by ada: there is room" in (Path(result["bundle"]) / "model-card.md").read_text()


def test_a_waiver_helps_against_its_own_gate_alone(world: Any) -> None:
    result = world.deploy(max_size_mb=1e-6, max_latency_ms=1e-6, waived={"size": "waived by ada: there is room"})
    assert result["decision"] == "blocked"
    assert result["reason"].startswith("latency: ")


def test_a_first_model_that_knows_nothing_is_blocked(
    world: Any, prepared: Prepared, train: Callable[..., Path], tmp_path: Path
) -> None:
    result = world.deploy(train(prepared, tmp_path / "untrained", steps=0))
    assert result["decision"] == "blocked"
    assert result["reason"].startswith("baseline: not provably better than the classes' shares alone")
    assert champion(world.champions) is None


class Branching(nn.Module):
    def forward(self, numeric: Tensor, *_: Tensor) -> Tensor:
        return numeric[:, :2] if float(numeric.sum()) > 0 else -numeric[:, :2]


def test_a_network_that_cannot_be_exported_is_blocked(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.deploy.challenger.load_model", lambda _: Branching())
    result = world.deploy()
    assert result["decision"] == "blocked"
    assert result["reason"].startswith("export: cannot be exported to ONNX")
    assert champion(world.champions) is None


def test_a_champion_that_was_changed_stops_everything(deployed: Any, bundle: Path) -> None:
    card = deployed.champions / "bundles" / bundle.name / "model-card.md"
    card.write_text(card.read_text() + "It is perfect.\n")
    before = snapshot(deployed.champions)
    with pytest.raises(IntegrityError, match=r"model-card\.md was changed"):
        deployed.deploy(run="run-2")
    assert snapshot(deployed.champions) == before


def test_a_champion_whose_column_is_gone_is_no_rival(
    deployed: Any, bundle: Path, train: Callable[..., Path], census: Callable[..., Prepared], tmp_path: Path
) -> None:
    narrow = census(tmp_path, drop=("age",))
    deployed.data = narrow.folder
    result = deployed.deploy(train(narrow, tmp_path / "model"), run="run-2")
    assert result["decision"] == "promoted"
    assert result["comparison"]["champion"] == bundle.name
    assert result["comparison"]["against"] == "class shares"
    assert "age not given" in result["comparison"]["reason"]
    assert current(deployed.champions).previous == bundle.name


def test_a_run_killed_before_the_pointer_leaves_the_champion_and_a_whole_bundle(world: Any) -> None:
    paths = {name: getattr(world, name) for name in ("data", "model", "champions", "out")}
    given: dict[str, Any] = {
        "name": "adult-income",
        "first_metric": "accuracy",
        "run": {"id": "run-2"},
        "fairness": {"verdict": "not audited", "metric": "accuracy", "blocking": False, "attributes": {}},
    }
    arguments = json.dumps({**given, **{name: str(path) for name, path in paths.items()}})
    command = [sys.executable, "-c", DIE_BEFORE_THE_POINTER, arguments]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == -signal.SIGKILL
    assert champion(world.champions) is None
    (left,) = (world.champions / "bundles").iterdir()
    assert read(left).digest == left.name
