"""The example that carries a cell from one data set to another."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from examples.transfer.search import cifar
from nas_core.errors import InputError
from tests.e2e.conftest import ROOT

SCRIPT = ROOT / "examples" / "transfer" / "search.py"


def run(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_cell_found_on_one_data_set_is_trained_deeper_on_another(
    environment: dict[str, str], data: Path, tmp_path: Path
) -> None:
    result = tmp_path / "result.json"
    done = run(
        environment, "--cifar", data / "cifar10_small_train.npz", "--preset", "small", "--strategy", "random",
        "--json", result,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text())
    assert list(found["searched"]["cell"]) == ["0->1", "0->2", "1->2", "0->3", "1->3", "2->3"]
    assert len(found["retrained"]["test"]) == 1
    assert found["baseline"]["test_accuracy"] > 0.5


@pytest.mark.slow
def test_the_whole_example_is_better_than_its_baseline(environment: dict[str, str], data: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    done = run(environment, "--cifar", data / "cifar10_small_train.npz", "--json", result)
    assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text())
    assert min(found["retrained"]["test"]) > found["baseline"]["test_accuracy"]


def test_the_published_archive_is_read(tmp_path: Path) -> None:
    """Rows of one byte for the class and 3,072 for the pixels: first all red ones, then green, then blue."""
    rows = np.random.default_rng(0).integers(0, 10, (6, 3073)).astype(np.uint8)
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"data_batch_1": rows[:4], "data_batch_2": rows[4:], "test_batch": rows}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = content.nbytes
            archive.addfile(member, io.BytesIO(content.tobytes()))
    images, classes = cifar(path)
    assert images.shape == (6, 3, 32, 32)
    assert np.array_equal(images[5, 2, 31], rows[5, -32:])
    assert np.array_equal(classes, rows[:, 0])


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cifar.tar.gz").write_text("no")
    with pytest.raises(InputError, match=r"--cifar: .*cifar\.tar\.gz is not cifar-10-binary\.tar\.gz"):
        cifar(tmp_path / "cifar.tar.gz")
