"""What has to hold between the keys of a spec; told from the spec alone, without data and without torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from components.parts import located_parts, objectives, rule
from components.spec import ObjectiveSpec, RayRunnerSpec, SearchSpec, Spec
from components.spec_errors import Problem
from components.spec_task import Holdout, MediaTask, TabularTask, TaskSpec
from components.yaml_lines import Location
from nas_core import registry
from nas_core.choosing import check
from nas_core.errors import InputError, unknown


class _Metric(NamedTuple):
    goal: Literal["min", "max"]
    least: float
    most: float


_MEASURED_BY_TRAINING = {
    "accuracy": _Metric("max", 0, 1),
    "balanced_accuracy": _Metric("max", 0, 1),
    "auroc": _Metric("max", 0, 1),
    "log_loss": _Metric("min", 0, math.inf),
    "validation_loss": _Metric("min", 0, math.inf),
    "train_loss": _Metric("min", 0, math.inf),
    "params": _Metric("min", 1, math.inf),
    "macs": _Metric("min", 1, math.inf),
    "flops": _Metric("min", 1, math.inf),
}
_MEASURED_BY_COSTS = {
    "latency": ("latency_ms", "latency_ms_spread"),
    "energy": ("energy_j", "co2_g"),
    "memory": ("peak_memory_mb", "inference_memory_mb"),
    "size": ("model_size_mb",),
}
"""The metrics of the costs that give the same whatever their options."""


def broken_rules(spec: Spec) -> Iterator[Problem]:
    """Yield what is wrong with `spec`, although each of its values is valid."""
    yield from _kinds(spec)
    yield from _columns(spec.task)
    yield from _bins(spec)
    yield from _objectives(spec)
    yield from _budget(spec.search)
    yield from _supernet(spec.search)
    yield from _choose(spec)
    if "kind" in spec.retrain.options:
        fix = "remove the key, or write retrain.estimator to train with another"
        yield Problem(("retrain", "options", "kind"), f"the estimator is that of the search; {fix}")
    if "kind" in spec.retrain.space:
        yield Problem(("retrain", "space", "kind"), "the space is that of the search; remove the key")


def _kinds(spec: Spec) -> Iterator[Problem]:
    for location, group, part in located_parts(spec):
        kinds = registry.targets(group)
        if part.kind not in kinds:
            yield Problem.of(unknown("kind", part.kind, kinds), location)
    trainer = spec.retrain.estimator
    if trainer is not None and trainer.kind not in registry.targets("estimators"):
        yield Problem.of(unknown("kind", trainer.kind, registry.targets("estimators")), ("retrain", "estimator"))


def _budget(search: SearchSpec) -> Iterator[Problem]:
    """Yield what is asked of the budget though the runner does not say what it takes."""
    runner, at = search.runner, ("search", "budget")
    gpus = runner.gpus if isinstance(runner, RayRunnerSpec) else 0
    if search.budget.cost is not None and not runner.price.of(runner.cpus, gpus):
        fix = "set search.runner.price.cpu_hour, gpu_hour or both"
        yield Problem((*at, "cost"), f"money needs a price, and what a trial occupies costs nothing; {fix}")
    if search.budget.gpu_hours is not None and not gpus:
        yield Problem((*at, "gpu_hours"), "trials occupy no GPU; set search.runner.gpus, or bound cpu_hours instead")


def _supernet(search: SearchSpec) -> Iterator[Problem]:
    """Yield what is asked of a supernet that there is not, or that does not give it."""
    kind = search.supernet and search.supernet.kind
    asks, needs = search.strategy.kind == "derived", search.estimator.kind == "shared"
    if asks and kind is None and not search.strategy.options.get("candidates"):
        fix = "set search.supernet to one that ranks architectures, such as {kind: te-nas}, or the option candidates"
        yield Problem(("search", "strategy"), f"derived proposes what a supernet came to, and there is none; {fix}")
    if needs and kind is None and not search.estimator.options.get("supernet"):
        fix = "set search.supernet to one that trains weights, such as {kind: spos}"
        yield Problem(
            ("search", "estimator"), f"shared measures by the weights of a supernet, and there is none; {fix}"
        )
    if asks and kind == "spos":
        fix = "choose another strategy, and the estimator shared"
        yield Problem(("search", "strategy"), f"derived has nothing to propose, spos ranks no architectures; {fix}")
    if needs and kind == "te-nas":
        fix = "choose spos, or the strategy derived with the estimator training"
        yield Problem(("search", "estimator"), f"shared has nothing to measure by, te-nas trains no weights; {fix}")


def _columns(task: TaskSpec) -> Iterator[Problem]:
    for key, columns in (("drop", task.drop if isinstance(task, TabularTask) else ()), ("sensitive", task.sensitive)):
        yield from _repeated(("task", key), columns)
        if task.target in columns:
            at = ("task", key, columns.index(task.target))
            yield Problem(at, f"{task.target!r} is the target, which is always kept and never an input; remove it here")
    if not isinstance(task, TabularTask):
        yield from _input_column(task)
    if isinstance(task.split.test, Holdout):
        column, here = task.split.test.column, ("task", "split", "test", "column")
        if column == task.target:
            yield Problem(here, f"{column!r} is the target; name the column that tells test rows from others")
        if column in task.sensitive:
            yield Problem(here, f"{column!r} is dropped after the split and cannot be sensitive; use another column")


def _input_column(task: MediaTask) -> Iterator[Problem]:
    column, test = task.column, task.split.test
    if column == task.target:
        yield Problem(("task", "column"), f"{column!r} is the target; name the column that the model is given")
    if column in task.sensitive:
        fix = f"holds the {task.kind} itself and has no groups; name a column beside it"
        yield Problem(("task", "sensitive", task.sensitive.index(column)), f"{column!r} {fix}")
    if isinstance(test, Holdout) and test.column == column:
        fix = f"holds the {task.kind} itself; name the column that tells test rows from others"
        yield Problem(("task", "split", "test", "column"), f"{column!r} {fix}")


def _bins(spec: Spec) -> Iterator[Problem]:
    columns = [bins.column for bins in spec.fairness.bins]
    yield from _repeated(("fairness", "bins"), columns)
    for i, column in enumerate(columns):
        if column not in spec.task.sensitive:
            yield Problem.of(unknown("column", column, spec.task.sensitive), ("fairness", "bins", i))


def _repeated(location: Location, names: Sequence[str]) -> Iterator[Problem]:
    for i, name in enumerate(names):
        if name in names[:i]:
            yield Problem((*location, i), f"{name!r} is listed twice; remove one")


def _objectives(spec: Spec) -> Iterator[Problem]:
    search, at = spec.search, ("search", "objectives")
    yield from _repeated(at, [objective.metric for objective in search.objectives])
    if search.estimator.kind != "training":  # what another estimator measures, it alone knows
        return
    known = _MEASURED_BY_TRAINING | (_measured_by_costs(search) or {})
    for i, objective in enumerate(search.objectives):
        if objective.metric in known or _measured_by_costs(search) is not None:
            yield from _objective((*at, i), objective, known)
    first = search.objectives[0].metric
    if spec.deploy.min_metric is not None and first in _MEASURED_BY_TRAINING:
        at_deploy = ("deploy", "min_metric")
        yield from _range(at_deploy, first, spec.deploy.min_metric, _MEASURED_BY_TRAINING[first])


def _choose(spec: Spec) -> Iterator[Problem]:
    try:
        check(rule(spec), objectives(spec))
    except InputError as error:
        yield Problem.of(error, ("search", "choose"))


def _measured_by_costs(search: SearchSpec) -> dict[str, _Metric] | None:
    """Return what the spec's costs measure; None if one of them is a plugin's, which alone knows."""
    names: list[str] = []
    for part in search.costs:
        if part.kind == "device-latency":
            names.append(f"{part.options.get('column', 'latency_ms')}/{part.options.get('device', 'device')}")
        elif part.kind in _MEASURED_BY_COSTS:
            names += _MEASURED_BY_COSTS[part.kind]
        else:
            return None
    return dict.fromkeys(names, _Metric("min", 0, math.inf))


def _objective(at: Location, objective: ObjectiveSpec, metrics: Mapping[str, _Metric]) -> Iterator[Problem]:
    known = metrics.get(objective.metric)
    if known is None:
        name = objective.metric
        kind = next((kind for kind, given in _MEASURED_BY_COSTS.items() if name in given), "")
        if name.startswith("latency_ms/"):
            kind = "device-latency"
        if kind:
            fix = f"the cost {kind} measures it; add {{kind: {kind}}} to search.costs"
            yield Problem((*at, "metric"), f"nothing here measures {name}, {fix}")
        else:
            yield Problem.of(unknown("metric", name, metrics), at)
        return
    if objective.goal != known.goal:
        better = "more" if known.goal == "max" else "less"
        yield Problem(
            (*at, "goal"), f"of {objective.metric}, {better} is better, got {objective.goal}; write {known.goal}"
        )
    if objective.limit is not None:
        yield from _range((*at, "limit"), objective.metric, objective.limit, known)


def _range(at: Location, metric: str, value: float, known: _Metric) -> Iterator[Problem]:
    _, least, most = known
    if least <= value <= most:
        return
    rule = f"must be at least {least}" if most == math.inf else f"must be between {least} and {most}"
    fix = f"; it is a share, write {value / 100:g} for {value:g} %" if most < value <= 100 else ""
    yield Problem(at, f"{metric} {rule}, got {value:g}{fix}")
