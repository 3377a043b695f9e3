"""How long a prediction takes on a device that is not here, from measurements that were made on it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from nas_core import space as algebra
from nas_core.costs._measurements import read_measurements
from nas_core.costs._predictor import Predictor
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace, Task
from nas_core.types import Architecture, Metrics


class DeviceLatency:
    """Looks latency up among measurements from a device, and predicts it for all other architectures.

    `csv` is the file of measurements, see `nas_core.costs._measurements`; `column` its column of figures, in the units
    of its name; `device` what the metric is called after: `latency_ms/<device>`, or `<column>/<device>` for another
    column, since energy or memory can be measured as well. An architecture that was measured has its own figure, else
    the least of its twins' (a twin may carry what has no effect), else what a `Predictor` fitted on all of them says.
    InputError for a file that is not whole, or is of another space.
    """

    cost = "a look-up, or a prediction"
    reference = "Rasmussen and Williams 2006, section 5.4.2"
    timed = False

    def __init__(
        self,
        space: SearchSpace,
        _task: Task,
        *,
        csv: Path | None = None,
        device: str = "device",
        column: str = "latency_ms",
    ) -> None:
        if csv is None:
            raise InputError("csv: must name a file of measurements; a few hundred architectures will do")
        if not device:
            raise InputError("device: must not be empty; the metric is called after it")
        self._space = space
        self._measured = read_measurements(csv, space, column)
        self.metrics = (f"{column}/{device}",)
        self._twins: dict[Architecture, float] = {}
        for architecture, figure in self._measured.items():
            twin = algebra.canonical(space, architecture)
            self._twins[twin] = min(figure, self._twins.get(twin, figure))

    def measure(self, architecture: Architecture) -> Metrics:
        """Return the one metric."""
        figure = self._measured.get(architecture)
        if figure is None:
            figure = self._twins.get(algebra.canonical(self._space, architecture))
        if figure is None:
            figure = float(self.predictor.predict([architecture])[0])
        return {self.metrics[0]: figure}

    @cached_property
    def predictor(self) -> Predictor:
        """What tells of architectures that were not measured; fitted when it is first needed."""
        return Predictor(self._space, self._measured)
