"""What can stop a challenger. Each gate measures one thing and says so in a sentence."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from components.bundle import run
from components.deploy.quality import Comparison, keeps
from components.deploy.rival import Rival

_WARM_UP, _CALLS = 50, 500
MEGABYTE = 1e6
CHAMPION, BASELINE = "champion", "baseline"
"""The gates of the comparison: failing the first is no fault of the challenger, failing the second is."""
WAIVABLE = ("size", "latency", "min_metric", "fairness", BASELINE)
"""The gates that a person may let a challenger pass; that it works, and beats the champion, is not a matter of will."""


@dataclass(frozen=True)
class Gate:
    """A check: what was measured, its limit if there is one, and a sentence for people."""

    gate: str
    passed: bool
    value: float | None
    limit: float | None
    text: str


def waived(gate: Gate, said: Mapping[str, str]) -> Gate:
    """Return `gate` as passed if a person `said` so of it, which its sentence then tells; measured it stays."""
    if gate.passed or gate.gate not in said:
        return gate
    return replace(gate, passed=True, text=f"{gate.text}; {said[gate.gate]}")


def exported(reason: str) -> Gate:
    """Return the gate of a network that could not be exported."""
    return Gate("export", passed=False, value=None, limit=None, text=f"cannot be exported to ONNX: {reason}")


def parity(expected: np.ndarray, actual: np.ndarray, targets: np.ndarray, limit: float) -> Gate:
    """Compare torch's probabilities with ONNX Runtime's, both (rows, classes), on the same real rows.

    The largest difference has to keep `limit`, and the classes have to agree, except where the two best are so close
    that the limit lets them change places.
    """
    error = float(np.abs(expected - actual).max())
    best = np.sort(expected, axis=1)
    tied = best[:, -1] - best[:, -2] <= 2 * limit
    same = (expected.argmax(axis=1) == actual.argmax(axis=1)) | tied
    shares = [float((p.argmax(axis=1) == targets).mean()) for p in (expected, actual)]
    text = (
        f"probabilities differ from torch's by at most {error:.1e} on {len(targets)} rows, "
        f"accuracy {shares[1]:.4f} against {shares[0]:.4f}"
    )
    passed = error <= limit and bool(same.all())
    return Gate("parity", passed, error if math.isfinite(error) else None, limit, text)


def size(model: bytes, limit: float | None) -> Gate:
    """Weigh the exported file, in megabytes of 10⁶ bytes."""
    megabytes = len(model) / MEGABYTE
    return Gate("size", limit is None or megabytes <= limit, megabytes, limit, f"{megabytes:.3f} MB")


def time_rows(session: Any, inputs: tuple[np.ndarray, ...]) -> tuple[float, float]:
    """Return median and 95th percentile of the milliseconds that one row takes, over calls with the rows in turn."""
    rows = len(inputs[0])
    taken = []
    for call in range(_WARM_UP + _CALLS):
        i = call % rows
        row = tuple(array[i : i + 1] for array in inputs)
        start = time.perf_counter()
        run(session, row)
        taken.append(time.perf_counter() - start)
    median, p95 = np.quantile(taken[_WARM_UP:], [0.5, 0.95]) * 1e3
    return float(median), float(p95)


def latency(median: float, p95: float, limit: float | None) -> Gate:
    """Judge the median milliseconds for one row; the 95th percentile is for information."""
    text = f"one row takes {median:.3f} ms (median; 95 % take less than {p95:.3f} ms) with one thread"
    return Gate("latency", limit is None or median <= limit, median, limit, text)


def least(metric: str, value: float, limit: float) -> Gate:
    """Judge a test metric by the limit of the spec."""
    text = f"{metric} {value:.4f} on the test rows, limit {limit:g}"
    return Gate("min_metric", keeps(metric, value, limit), value, limit, text)


def fairness(result: Mapping[str, Any]) -> Gate:
    """Judge by the audit's result: only a failed audit that is meant to block does."""
    failed = [name for name, each in result["attributes"].items() if each["verdict"] == "fail"]
    text = f"verdict: {result['verdict']}" + (f" by {', '.join(failed)}" if failed else "")
    if failed and not result["blocking"]:
        text += " (reported only)"
    return Gate("fairness", not result["blocking"], None, None, text)


def better(rival: Rival, comparison: Comparison, confidence: float) -> Gate:
    """Judge the gain over the champion, or without one over the classes' shares: its lower bound has to be above 0."""
    passed = comparison.lower > 0
    text = (
        f"{'' if passed else 'not provably '}better than {rival.name}: {comparison.metric} "
        f"{comparison.challenger:.4f} against {comparison.rival:.4f}, a gain of at least {comparison.lower:.4f} with "
        f"{100 * confidence:g} % confidence"
    )
    if rival.reason:
        text += f"; no comparison with the champion {str(rival.champion)[:12]}: {rival.reason}"
    return Gate(CHAMPION if rival.is_champion else BASELINE, passed, comparison.lower, 0.0, text)
