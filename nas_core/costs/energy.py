"""The electricity that predictions take, and the carbon dioxide of making it."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Literal

from nas_core.costs._network import at_least_1, batch_of, first_rows, to_onnx
from nas_core.costs._rapl import POWERCAP, Rapl
from nas_core.costs.latency import alone, runner
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace, Task
from nas_core.types import Architecture, Metrics

JOULES_PER_MAC = 4.6e-12
"""A multiplication (3.7 pJ) and an addition (0.9 pJ) of 32-bit floats at 45 nm (Horowitz 2014, figure 1.1.9)."""
JOULES_PER_BYTE = 160e-12
"""640 pJ to bring 32 bits from memory (the same)."""
_JOULES_PER_KWH = 3.6e6
_WARM_UP = 5


class Energy:
    """Meters, or estimates, the energy of a million predictions and the carbon dioxide that it stands for.

    `energy_j` is in joules for `rows` rows, predicted `batch` at a time; `co2_g` the grams of CO2 for `grid` grams a
    kilowatt-hour, by default the world's average of 2024 (Ember, Global Electricity Review 2025).

    `source: rapl` runs the exported network with ONNX Runtime on one thread for `seconds` and reads the processor's
    meter, which counts all that runs on it, idle or not. `model` counts multiply-accumulates and bytes of memory
    traffic and prices them by published figures; that orders architectures, but is no bill. `auto` takes the meter if
    there is one in `powercap`; where machines of both kinds work on one search, choose, for the two do not compare.
    InputError for an option out of range, or for `rapl` without a meter; InfeasibleError for a network that cannot be
    exported.
    """

    cost = "a forward pass without contents; by the meter an export and `seconds`"
    reference = "Horowitz 2014; RAPL; Ember 2025"
    metrics = ("energy_j", "co2_g")

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        powercap: Path = POWERCAP,
        *,
        source: Literal["auto", "rapl", "model"] = "auto",
        batch: int = 1,
        rows: int = 1_000_000,
        grid: float = 473.0,
        seconds: float = 2.0,
    ) -> None:
        at_least_1("batch", batch)
        at_least_1("rows", rows)
        if not 0 <= grid < math.inf:
            raise InputError(f"grid: must be >= 0 grams of CO2 a kilowatt-hour, got {grid}")
        if not 0 < seconds <= 60:  # a meter may begin again after a minute
            raise InputError(f"seconds: must be > 0 and <= 60, got {seconds}")
        self._meter = Rapl(powercap) if source != "model" else None
        if source == "rapl" and not self._meter:
            raise InputError(
                f"source: no meter of energy can be read in {powercap} (where there is one, root can); choose 'model'"
            )
        self._space, self._task = space, task
        self._batch, self._rows, self._grid, self._seconds = batch, rows, grid, seconds

    @property
    def timed(self) -> bool:
        """Whether a meter is read."""
        return bool(self._meter)

    def measure(self, architecture: Architecture) -> Metrics:
        """Return `energy_j` and `co2_g`."""
        joules = self._rows * (self._metered(architecture) if self._meter else self._modelled(architecture))
        return {"energy_j": joules, "co2_g": joules / _JOULES_PER_KWH * self._grid}

    def _modelled(self, architecture: Architecture) -> float:
        """Return the joules a row."""
        from nas_core.counting import count_work, without_contents

        # What is counted depends on shapes alone; the device `meta` computes nothing else.
        inputs = tuple(tensor.to("meta") for tensor in first_rows(self._task, self._batch))
        macs, moved = count_work(without_contents(self._space, architecture), inputs)
        return joules(macs, moved) / self._batch

    def _metered(self, architecture: Architecture) -> float:
        """Return the joules a row."""
        assert self._meter is not None  # noqa: S101  `measure` has looked
        model = to_onnx(self._space, self._task, architecture, self._batch, "energy")
        call = runner(model, batch_of(self._task, self._batch), 1)
        with alone():
            for _ in range(_WARM_UP):
                call()
            before, done, end = self._meter.read(), 0, time.perf_counter() + self._seconds
            while not done or time.perf_counter() < end:
                call()
                done += self._batch
            return self._meter.joules_since(before) / done


def joules(macs: float, moved: float) -> float:
    """Return the energy of so many multiply-accumulates, and of so many bytes to and from memory."""
    return JOULES_PER_MAC * macs + JOULES_PER_BYTE * moved
