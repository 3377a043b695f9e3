"""Which of two outcomes is better. The direction of an objective is used here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas_core.errors import InputError
from nas_core.types import Metrics, Objective, Status, Trial

Key = tuple[float, ...]
"""The violation, then one loss per objective. Its order extends constrained domination; compare keys, read nothing."""


def value(metrics: Metrics, objective: Objective) -> float:
    """Return what `metrics` hold for `objective`; InputError if that is missing or not finite."""
    if objective.metric not in metrics:
        have = ", ".join(sorted(metrics)) or "(none)"
        raise InputError(f"objectives: no metric {objective.metric!r} was measured; choose one of {have}")
    found = metrics[objective.metric]
    if not math.isfinite(found):
        raise InputError(f"objectives: {objective.metric} must be finite, got {found}")
    return found


def loss(objective: Objective, figure: float) -> float:
    """Return `figure` so that less is better; its own inverse."""
    return figure if objective.goal == "min" else -figure


def violation(metrics: Metrics, objectives: Sequence[Objective]) -> float:
    """Return by how much `metrics` break the limits: 0 if they keep all.

    The excess over each limit is a share of that limit (of 1 where it is 0), so that units do not matter; shares add
    up (Deb et al. 2002, section VI).
    """
    total = 0.0
    for objective in objectives:
        if objective.limit is not None:
            excess = loss(objective, value(metrics, objective)) - loss(objective, objective.limit)
            total += max(0.0, excess) / (abs(objective.limit) or 1.0)
    return total


def key(metrics: Metrics, objectives: Sequence[Objective]) -> Key:
    """Return what to sort by, best first: the violation, the first objective, and ties by the others in order."""
    return (violation(metrics, objectives), *(loss(o, value(metrics, o)) for o in objectives))


def dominates(a: Metrics, b: Metrics, objectives: Sequence[Objective]) -> bool:
    """Tell whether `a` constraint-dominates `b` (Deb et al. 2002, definition 1).

    The smaller violation wins; of two that keep all limits, the one that is nowhere worse and somewhere better.
    """
    return _dominates(key(a, objectives), key(b, objectives))


def pareto_front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Return the ok trials that no other constraint-dominates, in the order of `trials`.

    They keep all limits if any trial does. Figures of different fidelities do not compare: give trials of one.
    """
    front: list[tuple[Key, Trial]] = []
    for point, trial in sorted(_measured(trials, objectives), key=lambda pair: pair[0]):
        # Keys extend domination, so nothing later in the order can dominate what is in the front already.
        if not any(_dominates(other, point) for other, _ in front):
            front.append((point, trial))
    chosen = {id(trial) for _, trial in front}
    return [trial for trial in trials if id(trial) in chosen]


def undominated(points: Sequence[Metrics], by: Sequence[Metrics], objectives: Sequence[Objective]) -> list[bool]:
    """Tell for each of `points` whether none of the metrics `by` constraint-dominates it."""
    keys = [key(metrics, objectives) for metrics in by]
    return [not any(_dominates(other, own) for other in keys) for own in (key(p, objectives) for p in points)]


def best(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Trial | None:
    """Return the ok trial within all limits that is best by the first objective, ties by the others, then the earliest.

    None if no trial is ok and within the limits.
    """
    point, trial = min(_measured(trials, objectives), key=lambda pair: pair[0], default=((1.0,), None))
    return trial if point[0] == 0 else None


def hypervolume(trials: Sequence[Trial], objectives: Sequence[Objective], reference: Sequence[float]) -> float:
    """Return the exact volume between the ok trials within all limits and `reference`.

    `reference` has a value per objective, in its units; a trial not better than it in every objective adds nothing.
    Slices by one objective after another (Knowles 2002), so the time is O(front ** (objectives - 1)).
    """
    if len(reference) != len(objectives):
        raise InputError(f"reference: needs {len(objectives)} values, one per objective, got {len(reference)}")
    corner = tuple(loss(o, v) for o, v in zip(objectives, reference, strict=True))
    points = [point[1:] for point, _ in _measured(pareto_front(trials, objectives), objectives) if point[0] == 0]
    return _volume([p for p in points if all(x < r for x, r in zip(p, corner, strict=True))], corner)


def _measured(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[tuple[Key, Trial]]:
    return [(key(t.metrics, objectives), t) for t in trials if t.status is Status.OK and t.metrics is not None]


def _dominates(a: Key, b: Key) -> bool:
    if a[0] or b[0]:
        return a[0] < b[0]
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def _volume(points: list[Key], corner: Key) -> float:
    """Return the volume of all boxes from a point up to `corner`; every point is below it."""
    if len(corner) == 1:
        return max((corner[0] - point[0] for point in points), default=0.0)
    ordered = sorted(points, key=lambda point: point[-1])
    edges = [*(point[-1] for point in ordered), corner[-1]]
    slabs = (
        (edges[i + 1] - edges[i]) * _volume([point[:-1] for point in ordered[: i + 1]], corner[:-1])
        for i in range(len(ordered))
    )
    return sum(slabs, 0.0)
