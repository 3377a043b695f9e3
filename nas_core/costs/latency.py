"""How long a prediction takes on this machine."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_core.costs._network import at_least_1, batch_of, to_onnx
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace, Task
from nas_core.types import Architecture, Metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS = 5


class Latency:
    """Times the exported network with ONNX Runtime on this machine.

    `latency_ms` is for one batch of `batch` rows. There are five rounds of `repeats` calls after `warmup` untold ones,
    each in a session of its own with `threads` threads, pinned to another place on the machine; the figure is the
    median of the round whose median is least, so that a neighbour who keeps one CPU busy is not mistaken for the
    network. `latency_ms_spread` is the interquartile range of all calls: large where neighbours disturbed. Of the
    processes of one user on a machine, one measures at a time. `seconds` ends the calls early.

    InfeasibleError for a network that cannot be exported to ONNX; InputError for an option out of range.
    """

    cost = "an export, and 550 predictions"
    reference = "ONNX Runtime"
    metrics = ("latency_ms", "latency_ms_spread")
    timed = True

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        *,
        threads: int = 1,
        batch: int = 1,
        warmup: int = 10,
        repeats: int = 100,
        seconds: float = 10.0,
    ) -> None:
        for name, value in (("threads", threads), ("batch", batch), ("repeats", repeats)):
            at_least_1(name, value)
        if warmup < 0:
            raise InputError(f"warmup: must be >= 0, got {warmup}")
        if not seconds > 0:
            raise InputError(f"seconds: must be > 0, got {seconds}")
        self._space, self._task = space, task
        self._threads, self._batch, self._warmup = threads, batch, warmup
        self._repeats, self._seconds = repeats, seconds

    def measure(self, architecture: Architecture) -> Metrics:
        """Return `latency_ms` and `latency_ms_spread`."""
        model = to_onnx(self._space, self._task, architecture, self._batch, "latency")
        feed = batch_of(self._task, self._batch)
        with alone():
            rounds = [self._round(model, feed, number) for number in range(_ROUNDS)]
        low, high = np.quantile(np.concatenate(rounds), [0.25, 0.75])
        return {
            "latency_ms": 1e3 * float(min(np.median(taken) for taken in rounds)),
            "latency_ms_spread": 1e3 * float(high - low),
        }

    def _round(self, model: bytes, feed: Mapping[str, NDArray[Any]], number: int) -> NDArray[np.float64]:
        """Return the seconds of each call."""
        with pinned(self._threads, number):
            call = runner(model, feed, self._threads)
            for _ in range(self._warmup):
                call()
            taken: list[float] = []
            end = time.perf_counter() + self._seconds / _ROUNDS
            while len(taken) < self._repeats and (not taken or time.perf_counter() < end):
                start = time.perf_counter()
                call()
                taken.append(time.perf_counter() - start)
        return np.array(taken)


def runner(model: bytes, feed: Mapping[str, NDArray[Any]], threads: int) -> Callable[[], object]:
    """Return a function that predicts `feed`, a batch by ports, once with ONNX Runtime on `threads` CPU threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # A port that the network does not use is no input of the file.
    used = {port.name: feed[port.name] for port in session.get_inputs()}
    return lambda: session.run(None, used)


@contextmanager
def pinned(threads: int, number: int) -> Iterator[None]:
    """Keep this thread, and those that it starts, on `threads` CPUs: those after the `number`-th such group."""
    if not hasattr(os, "sched_setaffinity"):  # not Linux: the scheduler decides
        yield
        return
    before = os.sched_getaffinity(0)
    cpus = sorted(before)
    first = number * threads % len(cpus)
    os.sched_setaffinity(0, {cpus[(first + i) % len(cpus)] for i in range(min(threads, len(cpus)))})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other process of this user measures on this machine, and keep them from it meanwhile."""
    path = Path(tempfile.gettempdir()) / f"evernas-measuring-{os.getuid()}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
