"""Which trial of the Pareto front is taken: a rule, and why it chose as it did, in numbers and in a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nas_core import objectives as order
from nas_core.errors import InputError, unknown
from nas_core.types import Objective, Trial

SIGNS = {"min": "<=", "max": ">="}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How to choose; `kind` is one of `RULES`.

    `weights` are of `weighted`, by metric; an objective without one has none. `tolerances` are of `lexicographic`, by
    metric, in the metric's units; an objective without one tolerates nothing.
    """

    kind: str = "within-limits"
    weights: Mapping[str, float] = field(default_factory=dict)
    tolerances: Mapping[str, float] = field(default_factory=dict)


class Choice(NamedTuple):
    """The trial that was chosen, and why: JSON values, with a sentence under `text`."""

    trial: Trial
    why: dict[str, Any]


def check(rule: Rule, objectives: Sequence[Objective]) -> None:
    """Raise InputError unless there is such a rule and its options speak of the objectives."""
    if rule.kind not in RULES:
        raise unknown("kind", rule.kind, RULES)
    metrics = [objective.metric for objective in objectives]
    for name, options in (("weights", rule.weights), ("tolerances", rule.tolerances)):
        for metric, value in options.items():
            if metric not in metrics:
                raise unknown(name, metric, metrics)
            if not 0 <= value < math.inf:
                raise InputError(f"{name}.{metric}: must be >= 0, got {value}")
    if rule.kind == "weighted" and not any(rule.weights.values()):
        raise InputError(f"weights: one at least must be > 0; weigh {' or '.join(metrics)}")


def choose(trials: Sequence[Trial], objectives: Sequence[Objective], rule: Rule) -> Choice | None:
    """Return the choice of `rule` among those of `trials` that are ok, keep all limits, and no other dominates.

    None if there is none. Give trials of one fidelity. Equals are decided by the objectives in order, then the earliest
    is taken. InputError as `check`.
    """
    check(rule, objectives)
    best = order.best(trials, objectives)
    if best is None:
        return None
    # The best keeps the limits, so all on the front do.
    front = sorted(order.pareto_front(trials, objectives), key=lambda t: (_key(t, objectives), t.number))
    chosen, numbers, text = RULES[rule.kind](front, objectives, rule)
    limits = [f"{o.metric} {SIGNS[o.goal]} {o.limit:g}" for o in objectives if o.limit is not None]
    within = f"within {' and '.join(limits)}" if limits else "without limits"
    why = {"rule": rule.kind, "front": len(front), "limits": limits, **numbers}
    among = f"of {len(front)} on the Pareto front {within}" if len(front) > 1 else f"alone on the Pareto front {within}"
    return Choice(chosen, {**why, "text": f"{text}, {among}"})


Picked = tuple[Trial, dict[str, Any], str]


def _within_limits(front: Sequence[Trial], objectives: Sequence[Objective], _rule: Rule) -> Picked:
    first = objectives[0]
    value = _value(front[0], first)
    return front[0], {first.metric: value}, f"the best by {first.metric} ({value:.6g})"


def _knee(front: Sequence[Trial], objectives: Sequence[Objective], _rule: Rule) -> Picked:
    """Take what lies farthest below the plane through the extremes (Das 1999, for two objectives the line).

    Losses are scaled to [0, 1] on the front. The plane is inclined equally to all objectives and goes through the mean
    of the trials that are best by one of them; for two objectives it is the line through both.
    """
    points = _scaled(front, objectives)
    ends = [min(points, key=lambda point: (point[i], point)) for i in range(len(objectives))]
    height = math.fsum(map(math.fsum, ends)) / len(ends)
    distances = [(height - math.fsum(point)) / math.sqrt(len(objectives)) for point in points]
    place = _first_best([-distance for distance in distances])
    rest = max((d for i, d in enumerate(distances) if i != place), default=None)
    numbers = {"distance": distances[place], "next_distance": rest, "scaled": _named(points[place], objectives)}
    shape = "line" if len(objectives) == 2 else "plane"
    said = f"the knee, {distances[place]:.4g} below the {shape} through the extremes of the scaled objectives"
    return front[place], numbers, said


def _lexicographic(front: Sequence[Trial], objectives: Sequence[Objective], rule: Rule) -> Picked:
    """Keep, objective by objective, the trials that are within its tolerance of the best of those that are left."""
    left, steps = list(front), []
    for objective in objectives:
        tolerance = rule.tolerances.get(objective.metric, 0.0)
        losses = [order.loss(objective, _value(trial, objective)) for trial in left]
        bar = min(losses) + tolerance
        # A figure that is the tolerance away, but for the last bit of the sum, is within it.
        within = [loss <= bar or math.isclose(loss, bar, rel_tol=1e-12) for loss in losses]
        left = [trial for trial, keeps in zip(left, within, strict=True) if keeps]
        best = order.loss(objective, min(losses))
        steps.append({"metric": objective.metric, "best": best, "tolerance": tolerance, "left": len(left)})
    said = ", then ".join(
        f"{step['metric']} within {step['tolerance']:g} of {step['best']:.6g} ({step['left']} left)" for step in steps
    )
    return left[0], {"steps": steps}, f"first in order: {said}"


def _weighted(front: Sequence[Trial], objectives: Sequence[Objective], rule: Rule) -> Picked:
    """Take the least weighted sum of the losses, scaled to [0, 1] on the front."""
    points, weights = _scaled(front, objectives), [rule.weights.get(o.metric, 0.0) for o in objectives]
    sums = [math.fsum(w * x for w, x in zip(weights, point, strict=True)) for point in points]
    place = _first_best(sums)
    rest = min((value for i, value in enumerate(sums) if i != place), default=None)
    scaled = _named(points[place], objectives)
    said = " + ".join(f"{w:g} x {scaled[o.metric]:.4g} ({o.metric})" for w, o in zip(weights, objectives, strict=True))
    numbers = {"sum": sums[place], "next_sum": rest, "weights": _named(weights, objectives), "scaled": scaled}
    return front[place], numbers, f"the least weighted sum of scaled objectives, {said} = {sums[place]:.4g}"


RULES: Mapping[str, Callable[[Sequence[Trial], Sequence[Objective], Rule], Picked]] = {
    "within-limits": _within_limits,
    "knee": _knee,
    "lexicographic": _lexicographic,
    "weighted": _weighted,
}
"""The rules by their names; each takes the front, best first by the objectives in order."""


def _key(trial: Trial, objectives: Sequence[Objective]) -> order.Key:
    return order.key(trial.metrics or {}, objectives)


def _value(trial: Trial, objective: Objective) -> float:
    return order.value(trial.metrics or {}, objective)


def _scaled(front: Sequence[Trial], objectives: Sequence[Objective]) -> list[tuple[float, ...]]:
    """Return the losses of each trial, 0 the least on the front and 1 the most; 0 where all are equal."""
    columns = []
    for objective in objectives:
        losses = [order.loss(objective, _value(trial, objective)) for trial in front]
        least, spread = min(losses), max(losses) - min(losses)
        columns.append([(loss - least) / spread if spread else 0.0 for loss in losses])
    return list(zip(*columns, strict=True))


def _first_best(losses: Sequence[float]) -> int:
    return min(range(len(losses)), key=lambda i: (losses[i], i))


def _named(values: Sequence[float], objectives: Sequence[Objective]) -> dict[str, float]:
    return {objective.metric: value for objective, value in zip(objectives, values, strict=True)}
