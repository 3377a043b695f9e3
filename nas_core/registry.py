"""Names of parts -> where they are. Nothing is imported until a part is asked for.

A package adds its own with an entry point in the group `evernas.<group>`, for example::

    [project.entry-points."evernas.spaces"]
    my-space = "my_package.space:MySpace"
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal, NamedTuple, cast, get_args, get_type_hints

from nas_core.errors import InputError, unknown

Group = Literal["spaces", "strategies", "stoppers", "estimators", "supernets", "costs", "tasks"]

_BUILT_IN: dict[Group, dict[str, str]] = {
    "spaces": {
        "audio-chain": "nas_core.spaces.audio_chain:AudioChain",
        "chain": "nas_core.spaces.chain:Chain",
        "darts": "nas_core.spaces.darts:Darts",
        "edge": "nas_core.spaces.edge:Edge",
        "gpu-friendly": "nas_core.spaces.gpu_friendly:GpuFriendly",
        "hierarchical": "nas_core.spaces.hierarchical:Hierarchical",
        "macro": "nas_core.spaces.macro:Macro",
        "multi-task": "nas_core.spaces.multi_task:MultiTask",
        "nas-bench-201": "nas_core.spaces.nas_bench_201:NasBench201",
        "table": "nas_core.spaces.table:Table",
        "text-chain": "nas_core.spaces.text_chain:TextChain",
    },
    "strategies": {
        "asha": "nas_core.strategies.asha:ASHA",
        "bayesian": "nas_core.strategies.bayesian:Bayesian",
        "derived": "nas_core.strategies.derived:Derived",
        "hyperband": "nas_core.strategies.hyperband:Hyperband",
        "local-search": "nas_core.strategies.local_search:LocalSearch",
        "nsga2": "nas_core.strategies.nsga2:NSGA2",
        "random": "nas_core.strategies.random:Random",
        "reinforce": "nas_core.strategies.reinforce:Reinforce",
        "regularized-evolution": "nas_core.strategies.evolution:RegularizedEvolution",
    },
    "stoppers": {
        "asha": "nas_core.stoppers.asha:ASHA",
        "curve": "nas_core.stoppers.curve:Curve",
        "median": "nas_core.stoppers.median:Median",
    },
    "estimators": {
        "shared": "nas_core.estimators.shared:Shared",
        "tabular": "nas_core.estimators.tabular:Tabular",
        "training": "nas_core.estimators.training:Training",
    },
    "supernets": {
        "spos": "nas_core.supernets.spos:SPOS",
        "te-nas": "nas_core.supernets.te_nas:TENAS",
    },
    "costs": {
        "device-latency": "nas_core.costs.device_latency:DeviceLatency",
        "energy": "nas_core.costs.energy:Energy",
        "latency": "nas_core.costs.latency:Latency",
        "memory": "nas_core.costs.memory:Memory",
        "size": "nas_core.costs.size:Size",
    },
    "tasks": {
        "audio": "nas_core.tasks.audio:Audio",
        "image": "nas_core.tasks.image:Image",
        "multi-task": "nas_core.tasks.multi_task:MultiTask",
        "tabular": "nas_core.tasks.tabular:Tabular",
        "text": "nas_core.tasks.text:Text",
    },
}


class Option(NamedTuple):
    """A keyword-only parameter of a factory: what a spec may set, its type, and its value when it does not."""

    name: str
    type: Any
    default: Any


def group(name: str) -> Group:
    """Return the group called `name`; InputError if there is none."""
    for known in get_args(Group):
        if known == name:
            return cast(Group, known)
    raise unknown("group", name, get_args(Group))


@cache
def targets(group: Group) -> dict[str, str]:
    """Return name -> `module:Class` of all parts of `group`, ours and those of installed packages.

    A package cannot take one of our names: a spec means the same on every machine.
    """
    found = dict(_BUILT_IN[group])
    for point in entry_points(group=f"evernas.{group}"):
        if found.setdefault(point.name, point.value) != point.value:
            raise InputError(
                f"entry point evernas.{group}: the name {point.name!r} of {point.value} is taken by "
                f"{found[point.name]}; rename it in the package that declares it"
            )
    return found


def names(group: Group) -> list[str]:
    """Return the names of `group`, sorted."""
    return sorted(targets(group))


def load(group: Group, name: str) -> Callable[..., Any]:
    """Import and return the factory called `name`; InputError for an unknown name or one that does not import."""
    found = targets(group)
    if name not in found:
        raise unknown(group, name, found)
    module, _, attribute = found[name].partition(":")
    try:
        factory: Callable[..., Any] = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{group}.{name}: {found[name]} does not import ({error}); reinstall its package") from error
    return factory


def options(factory: Callable[..., Any]) -> list[Option]:
    """Return the options of `factory`: its keyword-only parameters, in order."""
    function = factory.__init__ if inspect.isclass(factory) else factory
    hints = get_type_hints(function, include_extras=True)
    parameters: Iterable[inspect.Parameter] = inspect.signature(factory).parameters.values()
    return [Option(p.name, hints[p.name], p.default) for p in parameters if p.kind is p.KEYWORD_ONLY]


def summary(group: Group, name: str) -> str:
    """Return the first line of the docstring of `name`."""
    return (inspect.getdoc(load(group, name)) or "").partition("\n")[0]


ABOUT = ("cost", "reference")
"""What a part may say of itself besides: class attributes, each one text."""


def about(group: Group, name: str) -> dict[str, str]:
    """Return what `name` says of itself under the names in `ABOUT`."""
    factory = load(group, name)
    return {key: told for key in ABOUT if isinstance(told := getattr(factory, key, None), str)}
