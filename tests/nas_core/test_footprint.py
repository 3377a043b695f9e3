"""Memory is foreseen: by hand where a hand can count, and against what a process really took."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nas_core import footprint
from nas_core.costs.memory import Memory
from nas_core.errors import InputError
from nas_core.estimators.training import Training
from nas_core.footprint import RESIDENT, inference_peak_mb, training_peak_mb
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.tasks.image import Image
from nas_core.tasks.tabular import Tabular
from nas_core.types import Architecture, Decision, Port, Signature

IMAGE = Signature(inputs=(Port(name="image", shape=(3, 16, 16)),), outputs=(Port(name="y", shape=(4,), classes=4),))
TABLE = Signature(inputs=(Port(name="numeric", shape=(50,)),), outputs=(Port(name="y", shape=(4,), classes=4),))
CELLS = [(3, 1, 2, 0, 4, 3), (0,) * 6, (1, 4, 3, 3, 2, 2)]


class Perceptron:
    decisions = (Decision(name="width", options=("100", "40000")),)

    def build(self, architecture: Architecture) -> nn.Module:
        width = (100, 40_000)[architecture[0]]
        return nn.Sequential(nn.Linear(50, width), nn.ReLU(), nn.Linear(width, 4))


def images(rows: int = 64) -> Image:
    data = ((np.zeros((rows, 3, 16, 16), np.float32),), np.zeros(rows, np.int64))
    return Image(IMAGE, {"train": data})


def table(rows: int = 64) -> Tabular:
    return Tabular(TABLE, {"train": ((np.zeros((rows, 50), np.float32),), np.zeros(rows, np.int64))})


def test_a_prediction_by_hand() -> None:
    """Weights, the batch, and two layers' maps at once: the second layer is made while the first is held."""
    batch, width = 32, 100
    weights = 4 * (50 * width + width + width * 4 + 4)
    held = 4 * batch * (50 + width + width) + 0
    assert inference_peak_mb(Perceptron(), table(), (0,), batch) == pytest.approx((weights + held) / 1e6, rel=0.1)


def test_weights_count_four_times_in_training() -> None:
    """Themselves, gradients, and two moments; beside 40,000 neurons a batch of one row is little."""
    weights = 4 * (50 * 40_000 + 40_000 + 40_000 * 4 + 4) / 1e6
    assert training_peak_mb(Perceptron(), table(2), (1,), 2) == pytest.approx(4 * weights, rel=0.15)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("rows", [2, 16, 64])
def test_small_batches_tell_of_large_ones_exactly(
    cell: Architecture, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the run of the whole batch on the device `meta`, as networks of large weights are counted."""
    space = NasBench201(IMAGE, channels=4, cells=1)
    foreseen = training_peak_mb(space, images(), cell, rows)
    monkeypatch.setattr(footprint, "_LARGE", 0)
    assert foreseen == pytest.approx(training_peak_mb(space, images(), cell, rows), rel=0.02)


def test_a_batch_is_no_larger_than_the_data() -> None:
    space = NasBench201(IMAGE, channels=4, cells=1)
    assert training_peak_mb(space, images(8), CELLS[0], 256) == training_peak_mb(space, images(8), CELLS[0], 8)


def test_nothing_large_is_allocated() -> None:
    """Ten thousand million weights, which no machine here holds."""

    class Huge(Perceptron):
        def build(self, architecture: Architecture) -> nn.Module:  # noqa: ARG002
            return nn.Sequential(nn.Linear(50, 100_000), nn.Linear(100_000, 100_000), nn.Linear(100_000, 4))

    assert training_peak_mb(Huge(), table(), (0,), 64) > 4 * 40_000


def test_torch_s_generator_stays_where_it_was() -> None:
    before = torch.get_rng_state()
    training_peak_mb(NasBench201(IMAGE, channels=4, cells=1), images(), CELLS[0], 64)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_estimator_and_the_cost_foresee_the_same() -> None:
    space = NasBench201(IMAGE, channels=4, cells=1)
    foreseen = Training(space, images(), 0, batch_size=32).peak_memory_mb(CELLS[0])
    assert Memory(space, images(), batch_size=32).measure(space.canonical(CELLS[0]))["peak_memory_mb"] == foreseen


def test_a_batch_of_nothing() -> None:
    with pytest.raises(InputError, match="batch_size: must be >= 1, got 0"):
        Memory(Perceptron(), table(), batch_size=0)


# ---------------------------------------------------------------- against real memory

REAL = """
import json, re, sys
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from tests.nas_core.test_footprint import IMAGE, NasBench201, images
from nas_core.footprint import training_peak_mb
space, cell, rows = NasBench201(IMAGE, channels=16, cells=2), tuple(json.loads(sys.argv[1])), int(sys.argv[2])
task = images(rows)
foreseen = training_peak_mb(space, task, cell, rows)
module = space.build(cell)
optimiser = torch.optim.AdamW(module.parameters(), fused=True)
def step(rows):
    (inputs, targets) = next(iter(task.batches("train", rows)))
    task.loss((module(*inputs),), targets).backward()
    optimiser.step()
    optimiser.zero_grad()
def peak():  # not ru_maxrss, which begins with what the parent had
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
step(2)
before = peak()
for _ in range(2):
    step(rows)
taken = (peak() - before) * 1024 / 1e6
print(json.dumps({"foreseen": foreseen, "taken": taken}))
"""


@pytest.mark.parametrize("cell", [(3, 1, 2, 0, 4, 3), (1, 4, 3, 3, 2, 2)])
def test_a_process_takes_what_was_foreseen_and_not_much_more(cell: Architecture) -> None:
    """Between what the tensors hold, less what the process had free, and `RESIDENT` times as much."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", REAL, json.dumps(cell), "512"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["foreseen"] > 100
    assert 0.7 * found["foreseen"] < found["taken"] < RESIDENT * found["foreseen"]
