from __future__ import annotations

import errno
import pickle
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from nas_core.errors import FencedError, InputError, IntegrityError
from nas_core.failures import InfeasibleError, attempt, classify, finite
from nas_core.types import Architecture, Failure, Status


class Space:
    """Its networks do not exist."""

    def build(self, architecture: Architecture) -> None:
        raise ValueError(f"no layer {architecture[0]}")


def raises(error: Exception) -> None:
    raise error


def outcome_of(call: Callable[[], object]) -> Failure:
    outcome = attempt(call)
    assert isinstance(outcome, Failure)
    return outcome


@pytest.mark.parametrize(
    "call",
    [
        lambda: np.empty(1 << 60, dtype=np.uint8),
        lambda: torch.empty(1 << 50),
        lambda: raises(MemoryError()),
        lambda: raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")),
        lambda: raises(OSError(errno.ENOMEM, "Cannot allocate memory")),
    ],
    ids=["numpy", "torch", "bare", "device", "system"],
)
def test_out_of_memory_is_infeasible(call: Callable[[], object]) -> None:
    outcome = outcome_of(call)
    assert outcome.status is Status.INFEASIBLE
    assert outcome.reason.startswith("oom: ")


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: finite({"loss": float("nan"), "accuracy": 1}), "nan: loss is nan"),
        (lambda: raises(TimeoutError("over 60 s")), "timeout: over 60 s"),
        (lambda: raises(TimeoutError()), "timeout"),
        (lambda: Space().build((7,)), "build: ValueError: no layer 7"),
        (lambda: raises(KeyError("epochs")), "error: KeyError: 'epochs'"),
        (lambda: raises(RuntimeError("two\n  lines")), "error: RuntimeError: two lines"),
        (lambda: raises(FileNotFoundError(errno.ENOENT, "gone", "x")), "error: FileNotFoundError: [Errno 2] gone: 'x'"),
        (lambda: raises(InputError("limit: wrong")), "error: InputError: limit: wrong"),
    ],
)
def test_other_exceptions_are_failed_with_a_code(call: Callable[[], object], reason: str) -> None:
    assert outcome_of(call) == Failure(status=Status.FAILED, reason=reason)


def test_a_reason_fits_into_a_record() -> None:
    assert len(classify(ValueError("x" * 10_000)).reason) == 500


@pytest.mark.parametrize("error", [FencedError("stop"), IntegrityError("broken"), KeyboardInterrupt(), SystemExit(130)])
def test_what_is_not_the_trials_fault_passes_through(error: BaseException) -> None:
    def call() -> None:
        raise error

    with pytest.raises(type(error)):
        attempt(call)


def test_metrics_become_plain_floats() -> None:
    metrics = finite({"a": np.float32(0.5), "b": torch.tensor(2), "c": True, "d": 3})
    assert metrics == {"a": 0.5, "b": 2.0, "c": 1.0, "d": 3.0}
    assert {type(value) for value in metrics.values()} == {float}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_metrics_that_are_not_finite_are_named(value: float) -> None:
    with pytest.raises(FloatingPointError, match="loss is"):
        finite({"accuracy": 1.0, "loss": value})


@pytest.mark.parametrize(
    "metrics", [None, 0.9, {"a": None}, {"a": "high"}, {"a": 10**400}, {"a": torch.zeros(2)}, {"a": np.zeros(2)}]
)
def test_what_is_no_metrics_is_a_type_error(metrics: object) -> None:
    with pytest.raises(TypeError):
        finite(metrics)


def test_the_module_loads_no_torch() -> None:
    script = "import sys, nas_core.failures; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_an_architecture_cannot_be_is_infeasible_also_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(InfeasibleError("build", "cannot be\n exported")))  # noqa: S301  ours
    assert classify(error) == Failure(status=Status.INFEASIBLE, reason="build: cannot be exported")
    assert str(error) == "build: cannot be\n exported"
