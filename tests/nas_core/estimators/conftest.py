from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.encoding import Column, Encoder
from components.sources import read
from components.spec import BuiltinSource
from nas_core.checkpoints import Checkpoints
from nas_core.spaces.chain import Chain
from nas_core.tasks.tabular import Arrays, Tabular
from nas_core.types import Metrics, Port, Signature


class Recorder:
    """A session on real checkpoints that keeps what is reported, and can stop a trial or kill it after a step."""

    device = "cpu"

    def __init__(
        self, folder: Path, number: int = 0, *, attempt: int = 0, stop_after: int = 0, kill_after: int = 0
    ) -> None:
        self.curve: list[tuple[int, Metrics]] = []
        self.saved: list[int] = []
        self._checkpoints = Checkpoints(folder)
        self._number = number
        self._attempt = attempt
        self._stop_after = stop_after
        self._kill_after = kill_after

    def report(self, step: int, metrics: Metrics, save: Callable[[Path], None] | None = None) -> bool:
        self.curve.append((step, dict(metrics)))
        if save:
            self.saved.append(step)
            self._checkpoints.save(self._number, self._attempt, step, save)
        if step == self._kill_after:
            raise KeyboardInterrupt
        return step == self._stop_after

    def restore(self, number: int | None = None) -> Path | None:
        return self._checkpoints.newest(self._number if number is None else number)


@pytest.fixture
def recorder(tmp_path: Path) -> Callable[..., Recorder]:
    """Make sessions; each of the same trial is its next attempt."""
    made: Counter[int] = Counter()

    def make(number: int = 0, **options: Any) -> Recorder:
        made[number] += 1
        return Recorder(tmp_path, number, attempt=made[number] - 1, **options)

    return make


@pytest.fixture(scope="session")
def adult() -> Tabular:
    """2,400 rows of Adult for training and 1,200 for validation."""
    frame = read(BuiltinSource(kind="builtin", name="adult"), Path()).iloc[:3600]
    columns = [
        Column(name, "numeric" if pd.api.types.is_numeric_dtype(frame[name]) else "categorical")
        for name in frame
        if name not in ("income", "split", "fnlwgt")
    ]
    train, validation = frame.iloc[:2400], frame.iloc[2400:]
    encoder = Encoder.fit(train, columns)

    def arrays(rows: pd.DataFrame) -> Arrays:
        return encoder.encode(rows), (rows["income"] == ">50K").to_numpy(np.int64)

    signature = Signature(inputs=encoder.ports, outputs=(Port(name="income", shape=(2,), classes=2),))
    return Tabular(signature, {"train": arrays(train), "validation": arrays(validation)})


@pytest.fixture(scope="session")
def space(adult: Tabular) -> Chain:
    """Two layers of 8 or 16, batch normalisation and dropout: all that has a state or draws random numbers."""
    return Chain(
        adult.signature,
        max_depth=2,
        widths=(8, 16),
        activations=("relu",),
        normalisations=("batch",),
        dropouts=(0.2,),
        residual=(False,),
        embedding_dims=(4,),
        numeric=("linear",),
    )
