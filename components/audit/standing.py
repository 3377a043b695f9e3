"""Where a trial stands among the others, and why it was chosen or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas_core import objectives as order
from nas_core.types import Metrics, Objective, Status, Trial


def standing(
    number: int, trials: Sequence[Trial], objectives: Sequence[Objective], chosen: int | None
) -> dict[str, Any]:
    """Return how trial `number` did by the objectives, among the ok trials of its own fidelity.

    `chosen` is the trial that the search chose, if it has ended well. `verdict` is `chosen`, `limit` (it breaks one),
    `beaten`, `fidelity` (others were measured further, and the best of those was chosen), `no figures`, or
    `undecided`; `against` the trial that it was beaten by or that came next, with how much worse that makes it.
    """
    trial = trials[number]
    peers = [t for t in trials if not t.origin and t.status is Status.OK and t.fidelity == trial.fidelity]
    ranked = sorted(peers, key=lambda t: (order.key(t.metrics or {}, objectives), t.number))
    told: dict[str, Any] = {
        "objectives": [] if trial.metrics is None else [_objective(o, trial.metrics) for o in objectives],
        "rank": None,
        "of": len(ranked),
        "front": None,
        "verdict": "no figures",
        "against": None,
        "continued_by": [
            t.number for t in trials if t.parents[:1] == (number,) and t.architecture == trial.architecture
        ],
    }
    if trial.status is not Status.OK or trial.metrics is None:
        return told
    told["rank"] = 1 + [t.number for t in ranked].index(number)
    told["front"] = number in {t.number for t in order.pareto_front(peers, objectives)}
    if chosen == number:
        told["verdict"] = "chosen"
        rest = [t for t in ranked if t.number != number]
        told["against"] = _against(trial, rest[0], objectives) if rest else None
    elif order.violation(trial.metrics, objectives):
        told["verdict"] = "limit"
    elif chosen is None:
        told["verdict"] = "undecided"
    elif trials[chosen].fidelity != trial.fidelity:
        told["verdict"], told["against"] = "fidelity", {"trial": chosen, "fidelity": trials[chosen].fidelity}
    else:
        told["verdict"], told["against"] = "beaten", _against(trial, trials[chosen], objectives)
    return told


def _objective(objective: Objective, metrics: Metrics) -> dict[str, Any]:
    value = order.value(metrics, objective)
    excess = 0.0
    if objective.limit is not None:
        sign = 1 if objective.goal == "min" else -1
        excess = max(0.0, sign * (value - objective.limit))
    return {
        "metric": objective.metric,
        "goal": objective.goal,
        "value": value,
        "limit": objective.limit,
        "beyond_limit": excess,
    }


def _against(trial: Trial, other: Trial, objectives: Sequence[Objective]) -> dict[str, Any]:
    """Return by how much `trial` is better (positive) or worse than `other`, per objective, in the metric's units."""
    ours, theirs = trial.metrics or {}, other.metrics or {}
    better = {
        o.metric: (order.value(ours, o) - order.value(theirs, o)) * (1 if o.goal == "max" else -1) for o in objectives
    }
    broken = order.violation(theirs, objectives) > 0
    return {"trial": other.number, "better_by": better, "breaks_limit": broken}
