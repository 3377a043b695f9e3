"""A spec's parts and their factories: options are checked against the factory's signature, then the part is built.

So a plugin's options are strict and documented without a line of its own. Errors are located as in the spec.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError

from components.spec import Part, Spec
from components.spec_errors import Problem, problems_of
from components.yaml_lines import Location
from nas_core import registry
from nas_core.errors import InputError, unknown
from nas_core.registry import Group
from nas_core.types import Objective, Signature

if TYPE_CHECKING:
    from nas_core.choosing import Rule
    from nas_core.interfaces import (
        BatchEstimator,
        Cost,
        Estimator,
        SearchSpace,
        Stopper,
        Strategy,
        SupernetTraining,
        Task,
        Trainer,
    )

GROUPS: dict[str, Group] = {
    "space": "spaces",
    "strategy": "strategies",
    "stopper": "stoppers",
    "estimator": "estimators",
    "supernet": "supernets",
}
"""The keys of `search` that name a part, and where its kind is registered; a stopper and a supernet are optional."""


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


@cache
def options_model(group: Group, kind: str) -> type[BaseModel]:
    """Return the strict model of the options of `kind`: the keyword-only parameters of its factory.

    Fields go by alias, so that an option may be called `copy` or `json`. InputError for an unknown kind, and for a
    factory whose options have no type that a spec can write.
    """
    if kind not in registry.targets(group):
        raise unknown("kind", kind, registry.targets(group))
    try:
        factory = registry.load(group, kind)
    except InputError as error:
        raise InputError(f"kind: {error}") from error
    try:
        fields: dict[str, Any] = {
            f"option_{option.name}": (option.type, Field(_default(option.default), alias=option.name))
            for option in registry.options(factory)
        }
        return create_model(kind, __base__=_Options, **fields)
    except (KeyError, NameError, TypeError, PydanticSchemaGenerationError) as error:
        raise InputError(
            f"kind: the options of {kind} cannot be read ({error}); in its package, give every keyword-only parameter "
            "a type of numbers, text, true or false, and tuples of these"
        ) from error


def _default(default: Any) -> Any:
    return ... if default is inspect.Parameter.empty else default


def typed_options(group: Group, part: Part) -> tuple[dict[str, Any], list[Problem]]:
    """Return the options that `part` gives, as the factory takes them, and all that is wrong with them."""
    model = options_model(group, part.kind)
    try:
        options = model.model_validate_json(json.dumps(part.options))
    except ValidationError as error:
        return {}, list(problems_of(error, model))
    given = {
        name: field.alias or name for name, field in model.model_fields.items() if name in options.model_fields_set
    }
    return {alias: getattr(options, name) for name, alias in given.items()}, []


def resolve(group: Group, part: Part) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the factory of `part` and the options to call it with; those left out have the factory's defaults.

    InputError, located from the part on, for an unknown kind, an unknown or missing option, or a wrong type.
    """
    options, problems = typed_options(group, part)
    if problems:
        raise InputError(str(problems[0]))
    return registry.load(group, part.kind), options


def named_parts(spec: Spec) -> dict[str, Part]:
    """Return the parts that the spec's search names, by their keys."""
    return {key: part for key in GROUPS if (part := getattr(spec.search, key)) is not None}


def located_parts(spec: Spec) -> Iterator[tuple[Location, Group, Part]]:
    """Yield all parts of the spec's search with where they stand and what they are."""
    for key, part in named_parts(spec).items():
        yield ("search", key), GROUPS[key], part
    for index, part in enumerate(spec.search.costs):
        yield ("search", "costs", index), "costs", part


def grounded(spec: Spec, base: Path) -> Spec:
    """Return `spec` with the paths among the options of its parts made absolute; relative ones start at `base`.

    It loads the parts, and with them torch: for those who are about to build them.
    """
    search: dict[str, Any] = {key: _grounded(GROUPS[key], part, base) for key, part in named_parts(spec).items()}
    search["costs"] = tuple(_grounded("costs", part, base) for part in spec.search.costs)
    changed: dict[str, Any] = {"search": spec.search.model_copy(update=search)}
    if spec.retrain.estimator is not None:
        estimator = _grounded("estimators", spec.retrain.estimator, base)
        changed["retrain"] = spec.retrain.model_copy(update={"estimator": estimator})
    return spec.model_copy(update=changed)


def _grounded(group: Group, part: Part, base: Path) -> Part:
    options, _ = typed_options(group, part)
    paths = {name: str(base / value.expanduser()) for name, value in options.items() if isinstance(value, Path)}
    return overridden(part, paths) if paths else part


def build_space(spec: Spec, signature: Signature) -> SearchSpace:
    """Return the spec's search space for models of `signature`."""
    space: SearchSpace = _build("spaces", spec.search.space, "search.space", signature)
    return space


def build_strategy(spec: Spec, space: SearchSpace) -> Strategy:
    """Return the spec's strategy over `space`, seeded by the spec."""
    strategy: Strategy = _build(
        "strategies", spec.search.strategy, "search.strategy", space, objectives(spec), spec.seed
    )
    return strategy


def build_stopper(spec: Spec) -> Stopper | None:
    """Return the spec's stopper, if it names one."""
    if spec.search.stopper is None:
        return None
    stopper: Stopper = _build("stoppers", spec.search.stopper, "search.stopper", objectives(spec))
    return stopper


def final_space(spec: Spec) -> Part:
    """Return the space that the champion is built in: the search's, with the options of `retrain.space` replaced."""
    return overridden(spec.search.space, spec.retrain.space)


def build_final_space(spec: Spec, signature: Signature) -> SearchSpace:
    """Return `final_space` for models of `signature`; InputError unless its decisions are those of the search's."""
    from nas_core.space import digest

    searched = build_space(spec, signature)
    if not spec.retrain.space:
        return searched
    final: SearchSpace = _build("spaces", final_space(spec), "retrain.space", signature)
    if digest(final) != digest(searched):
        raise InputError(
            f"retrain.space: {', '.join(spec.retrain.space)} must leave the decisions as they are, or what was found "
            "means something else; change only what every architecture has in common"
        )
    return final


def build_estimator(spec: Spec, space: SearchSpace, task: Task) -> Estimator | BatchEstimator:
    """Return the estimator of the spec's search."""
    estimator: Estimator | BatchEstimator = _build(
        "estimators", spec.search.estimator, "search.estimator", space, task, spec.seed
    )
    return estimator


def build_supernet(spec: Spec, space: SearchSpace, task: Task) -> SupernetTraining:
    """Return the training of the spec's supernet, at its beginning; ValueError if the spec names none."""
    if spec.search.supernet is None:
        raise ValueError("the spec names no supernet")
    training: SupernetTraining = _build("supernets", spec.search.supernet, "search.supernet", space, task, spec.seed)
    return training


def build_costs(spec: Spec, space: SearchSpace, task: Task) -> tuple[Cost, ...]:
    """Return the costs that the spec's search measures.

    A cost that depends on the size of a training's batches has that of the search's estimator, unless it says another.
    """
    batch_size = spec.search.estimator.options.get("batch_size")
    built = []
    for index, part in enumerate(spec.search.costs):
        given, place = part, f"search.costs[{index}]"
        if batch_size is not None and "batch_size" in _option_names("costs", part.kind):
            given = overridden(part, {"batch_size": batch_size, **part.options})
        built.append(_build("costs", given, place, space, task))
    return tuple(built)


def _option_names(group: Group, kind: str) -> set[str]:
    return {option.name for option in registry.options(registry.load(group, kind))}


def rule(spec: Spec) -> Rule:
    """Return by which rule the spec chooses from the Pareto front."""
    from nas_core.choosing import Rule

    return Rule(**spec.search.choose.model_dump())


def trainer(spec: Spec) -> tuple[Part, str]:
    """Return the estimator that trains the champion, and the key of the spec that its options come from."""
    if spec.retrain.estimator is not None:
        return spec.retrain.estimator, "retrain.estimator"
    key = "retrain.options" if spec.retrain.options else "search.estimator"
    return overridden(spec.search.estimator, spec.retrain.options), key


def build_trainer(spec: Spec, space: SearchSpace, task: Task, seed: int) -> Trainer:
    """Return the estimator that trains the champion; InputError if it cannot train."""
    from nas_core.interfaces import Trainer

    part, place = trainer(spec)
    built = _build("estimators", part, place, space, task, seed)
    if not isinstance(built, Trainer):
        key = "search" if spec.retrain.estimator is None else "retrain"
        raise InputError(
            f"{key}.estimator.kind: {part.kind!r} trains nothing that could be deployed; "
            "set retrain.estimator to one that does, such as {kind: training}"
        )
    return built


def overridden(part: Part, overrides: Mapping[str, Any]) -> Part:
    """Return `part` with some options replaced."""
    return Part(**{**part.options, **overrides, "kind": part.kind})


def objectives(spec: Spec) -> tuple[Objective, ...]:
    """Return the spec's objectives as the search library's."""
    return tuple(Objective(metric=o.metric, goal=o.goal, limit=o.limit) for o in spec.search.objectives)


def _build(group: Group, part: Part, place: str, *arguments: Any) -> Any:
    try:
        factory, options = resolve(group, part)
        return factory(*arguments, **options)
    except InputError as error:
        raise error.at(place) from error
