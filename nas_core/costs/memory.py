"""How much memory training and predicting take."""

from __future__ import annotations

from nas_core.costs._network import at_least_1
from nas_core.interfaces import SearchSpace, Task
from nas_core.types import Architecture, Metrics


class Memory:
    """Estimates peak memory from the shapes of all tensors, without allocating any.

    `peak_memory_mb` is for a training step with AdamW and batches of `batch_size` rows, `inference_memory_mb` for
    predicting `batch` rows; both in MB of 10^6 bytes, see `nas_core.footprint` for what is in it. InputError for an
    option below 1.
    """

    cost = "training steps of two and of four rows"
    metrics = ("peak_memory_mb", "inference_memory_mb")
    timed = False

    def __init__(self, space: SearchSpace, task: Task, *, batch_size: int = 256, batch: int = 1) -> None:
        at_least_1("batch_size", batch_size)
        at_least_1("batch", batch)
        self._space, self._task = space, task
        self._batch_size, self._batch = batch_size, batch

    def measure(self, architecture: Architecture) -> Metrics:
        """Return both peaks."""
        from nas_core.footprint import inference_peak_mb, training_peak_mb

        return {
            "peak_memory_mb": training_peak_mb(self._space, self._task, architecture, self._batch_size),
            "inference_memory_mb": inference_peak_mb(self._space, self._task, architecture, self._batch),
        }
