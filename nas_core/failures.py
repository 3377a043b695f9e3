"""What went wrong with an estimate: a typed status, and a reason that begins with a code.

    oom      infeasible  out of memory, on the host or a device
    nan      failed      a metric is not finite
    timeout  failed      took too long
    build    failed      the space could not build the network; infeasible: it cannot be made what was asked of it, such
                         as a file to be timed
    metrics  failed      the estimate is not what was asked for: no metrics, or not all objectives
    error    failed      any other exception of the estimator
    worker   lost        the process that ran it died; given by runners with processes of their own
    node     lost        the machine that ran it went away; likewise

Loads no torch.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Mapping
from traceback import walk_tb
from typing import Literal, TypeVar

from nas_core.errors import IntegrityError, OutsideError
from nas_core.types import Failure, Status

T = TypeVar("T")

_LONGEST = 500
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory")  # what torch says on a device, and on the host


class InfeasibleError(Exception):
    """What an architecture cannot be, through no fault of code or machine; `code` is a reason code of this module."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)  # all arguments, or it could not be sent between processes
        self.code, self.detail = code, detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


def classify(error: Exception) -> Failure:
    """Return the failure that an estimator's exception means."""
    if isinstance(error, InfeasibleError):
        return failure(Status.INFEASIBLE, error.code, " ".join(error.detail.split()))
    text = " ".join(str(error).split())
    if _is_out_of_memory(error, text):
        return failure(Status.INFEASIBLE, "oom", text or type(error).__name__)
    if isinstance(error, FloatingPointError):
        return failure(Status.FAILED, "nan", text)
    if isinstance(error, TimeoutError):
        return failure(Status.FAILED, "timeout", text)
    code = "build" if _comes_from_build(error) else "error"
    return failure(Status.FAILED, code, f"{type(error).__name__}: {text}")


def attempt(call: Callable[[], T]) -> T | Failure:
    """Return what the estimator's code in `call` returns, or the failure that its exception means.

    A failure of the record (OutsideError, IntegrityError) is not the trial's and passes through, as do
    KeyboardInterrupt and SystemExit.
    """
    try:
        return call()
    except (OutsideError, IntegrityError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends this trial and not the search
        return classify(error)


def failure(status: Literal[Status.INFEASIBLE, Status.FAILED, Status.LOST], code: str, detail: str = "") -> Failure:
    """Return a failure with the reason `code: detail`, cut to a length that a record can bear."""
    return Failure(status=status, reason=f"{code}: {detail}"[:_LONGEST] if detail else code)


def finite(metrics: object) -> dict[str, float]:
    """Return `metrics` as plain floats by name.

    FloatingPointError names those that are not finite; TypeError if it is no mapping from names to numbers.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(f"expected metrics by name, got {type(metrics).__name__}")
    try:
        values = {str(name): float(value) for name, value in metrics.items()}
    except (ValueError, OverflowError, RuntimeError) as error:  # RuntimeError: a tensor of several numbers
        raise TypeError(f"expected a number per metric ({error})") from error
    if wrong := [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]:
        raise FloatingPointError(", ".join(wrong))
    return values


def _is_out_of_memory(error: Exception, text: str) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    torch_says_so = isinstance(error, RuntimeError) and any(words in text.lower() for words in _OUT_OF_MEMORY)
    return isinstance(error, MemoryError) or torch_says_so


def _comes_from_build(error: Exception) -> bool:
    """Tell whether it passed through a `SearchSpace.build`, known by the contract's name and argument.

    So an estimator needs no wrapping of its own around the call.
    """
    frames = (frame.f_code for frame, _ in walk_tb(error.__traceback__))
    return any(code.co_name == "build" and "architecture" in code.co_varnames[: code.co_argcount] for code in frames)
