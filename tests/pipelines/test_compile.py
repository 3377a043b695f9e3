"""The compiled pipeline is a golden, and it is the object that `evernas run` executes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.spec_file import parse_spec, read_spec

ROOT = Path(__file__).resolve().parents[2]
SPEC, GOLDEN = "examples/adult/spec.yaml", "pipelines/compiled/adult-income.yaml"


def compiled(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", "compile", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    done = compiled(SPEC, "-o", str(out), "--image", "evernas:0.1.0")
    assert done.returncode == 0, done.stderr
    return out


def test_the_compiled_pipeline_is_the_golden(fresh: Path) -> None:
    renew = f"evernas compile {SPEC} -o {GOLDEN} --image evernas:0.1.0"
    assert fresh.read_text() == (ROOT / GOLDEN).read_text(), f"look at the difference, and if it is meant, run: {renew}"


def test_the_spec_travels_with_the_pipeline(fresh: Path) -> None:
    pipeline = next(yaml.safe_load_all(fresh.read_text()))
    assert pipeline["pipelineInfo"]["name"] == "continuous-nas"
    parameters = pipeline["root"]["inputDefinitions"]["parameters"]
    assert parse_spec(parameters["spec"]["defaultValue"], "default") == read_spec(ROOT / SPEC)


def test_no_step_installs_anything_or_is_answered_from_a_cache(fresh: Path) -> None:
    text = fresh.read_text()
    assert "pip install" not in text
    assert "enableCache: true" not in text


def test_every_step_has_the_runs_and_the_signing_key(fresh: Path) -> None:
    pipeline, platforms = yaml.safe_load_all(fresh.read_text())
    executors = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors.keys() == pipeline["deploymentSpec"]["executors"].keys()
    for executor in executors.values():
        assert [mount["mountPath"] for mount in executor["pvcMount"]] == ["/var/lib/evernas/runs"]
        assert [secret["secretName"] for secret in executor["secretAsVolume"]] == ["evernas-signing"]


def test_another_image_is_every_step_s(tmp_path: Path) -> None:
    out = tmp_path / "pipeline.yaml"
    assert compiled(SPEC, "-o", str(out), "--image", "example.org/evernas:7").returncode == 0
    executors = next(yaml.safe_load_all(out.read_text()))["deploymentSpec"]["executors"]
    assert {executor["container"]["image"] for executor in executors.values()} == {"example.org/evernas:7"}


def test_a_bad_spec_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    spec, out = tmp_path / "spec.yaml", tmp_path / "pipeline.yaml"
    spec.write_text("name: Not A Name\n")
    done = compiled(str(spec), "-o", str(out))
    assert done.returncode == 2
    assert "name" in done.stderr
    assert not out.exists()


def test_an_output_of_another_kind_is_refused(tmp_path: Path) -> None:
    done = compiled(SPEC, "-o", str(tmp_path / "pipeline.txt"))
    assert done.returncode == 2
    assert "--output: must end in .yaml" in done.stderr
