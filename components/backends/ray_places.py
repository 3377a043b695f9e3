"""Where on a Ray cluster trials fit: what one asks for, and which machines have that."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from typing import Any

import ray
from ray.tune import PlacementGroupFactory

from components.spec import RayRunnerSpec
from nas_core.errors import InputError

NODE = "ray.io/node-id"
"""The label by which Ray knows a machine."""

_TYPE = "accelerator_type:"
_SHARE = 0.001  # Ray's own way to ask for a machine with such GPUs
_BYTES = 10**6
_SECONDS_BETWEEN_LOOKS = 10.0
_OWN_KEYS = {"CPU": "cpus", "GPU": "gpus", "memory": "memory_mb"}


def demand(spec: RayRunnerSpec) -> dict[str, float]:
    """Return what a trial asks for, by Ray's names; memory in bytes.

    InputError for what Ray cannot give: more than one GPU by a fraction, and a resource that has a key of its own.
    """
    if spec.gpus > 1 and not spec.gpus.is_integer():
        raise InputError(f"search.runner.gpus: more than one must be a whole number, got {spec.gpus}")
    if own := sorted(spec.resources.keys() & _OWN_KEYS.keys()):
        raise InputError(f"search.runner.resources: {own[0]} has a key of its own; set {_OWN_KEYS[own[0]]} instead")
    asked: dict[str, float] = {"CPU": spec.cpus, **spec.resources}
    if spec.gpus:
        asked["GPU"] = spec.gpus
    if spec.memory_mb is not None:
        asked["memory"] = math.ceil(spec.memory_mb * _BYTES)
    if spec.accelerator_type is not None:
        asked[f"{_TYPE}{spec.accelerator_type}"] = _SHARE
    return asked


def task_options(asked: Mapping[str, float]) -> dict[str, Any]:
    """Return the options of a Ray task that asks for the same."""
    others = {name: amount for name, amount in asked.items() if name not in _OWN_KEYS}
    return {
        "num_cpus": asked["CPU"],
        "num_gpus": asked.get("GPU", 0),
        "memory": asked.get("memory"),
        "resources": others,
    }


def placed(config: Mapping[str, Any], *, asked: Mapping[str, float]) -> PlacementGroupFactory:
    """Return the place that Tune has to find for a trial: on no machine that `config` says to avoid."""
    avoided = config.get("avoided")
    if not avoided:
        return PlacementGroupFactory([dict(asked)])
    return PlacementGroupFactory([dict(asked)], bundle_label_selector=[{NODE: f"!in({avoided})"}])


def places(spec: RayRunnerSpec) -> int:
    """Return how many trials fit on the cluster's machines at a time, at most the spec's `max_concurrent`.

    InputError if none does, naming what is asked for and what the machines have.
    """
    asked = demand(spec)
    machines = [node["Resources"] for node in _alive()]
    fit = sum(_fit(asked, machine) for machine in machines)
    if fit < 1:
        have = " and ".join(sorted((_words(asked, machine) for machine in machines), reverse=True)) or "nothing"
        raise InputError(
            f"search.runner: a trial asks for {_words(asked, asked)} of one machine, those of the "
            f"cluster have {have}; ask for less"
        )
    return min(fit, spec.max_concurrent or fit)


class Places:
    """The places for trials while machines come and go; looks at the cluster now and then."""

    def __init__(self, spec: RayRunnerSpec) -> None:
        self._spec, self._asked = spec, demand(spec)
        self._now, self._looked = places(spec), time.monotonic()

    @property
    def now(self) -> int:
        """How many trials fit at a time, one at least: where none fits any more, one waits for a machine to come."""
        if time.monotonic() - self._looked > _SECONDS_BETWEEN_LOOKS:
            self.look()
        return self._now

    def look(self) -> None:
        """Look at the cluster at once."""
        fit = max(1, sum(_fit(self._asked, node["Resources"]) for node in _alive()))
        self._now, self._looked = min(fit, self._spec.max_concurrent or fit), time.monotonic()

    def fitting(self, avoided: Collection[str] = ()) -> list[str]:
        """Return the ids of the machines where a trial fits if nothing else is there, without those `avoided`."""
        return [n["NodeID"] for n in _alive() if n["NodeID"] not in avoided and _fit(self._asked, n["Resources"])]


def node_of(actor: Any) -> str | None:
    """Return the id of the machine that `actor` is or was on; None if Ray does not know."""
    from ray._private.state import actors  # the public way needs the dashboard

    known = actors(actor._actor_id.hex()) if actor is not None else None  # noqa: SLF001
    return (known or {}).get("Address", {}).get("NodeID") or None


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _fit(asked: Mapping[str, float], machine: Mapping[str, float]) -> int:
    return min(_times(name, amount, machine.get(name, 0.0)) for name, amount in asked.items())


def _times(name: str, amount: float, have: float) -> int:
    if name == "GPU" and amount < 1:  # a trial's share is of one GPU
        return int(have) * _whole(1 / amount)
    return _whole(have / amount)


def _whole(count: float) -> int:
    return math.floor(count + 1e-9)  # 0.3 / 0.1 is a little less than 3


def _words(asked: Mapping[str, float], of: Mapping[str, float]) -> str:
    words = [f"{of.get('CPU', 0):g} CPUs", f"{of.get('GPU', 0):g} GPUs"]
    for name in asked:
        if name == "memory":
            words.append(f"{of.get(name, 0) / _BYTES:.0f} MB of memory")
        elif name.startswith(_TYPE):
            kinds = sorted(kind.removeprefix(_TYPE) for kind in of if kind.startswith(_TYPE))
            words.append(f"GPUs of the kind {', '.join(kinds) or '(none)'}")
        elif name not in _OWN_KEYS:
            words.append(f"{of.get(name, 0):g} {name}")
    return ", ".join(words)
