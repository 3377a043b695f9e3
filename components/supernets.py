"""The supernet of a search: trained before the first trial, kept in the run's folder, its end in the ledger.

The ledger's entry `supernet` is {kind, options, steps, seconds, digest, candidates}: what was trained, how long this
took the process that ended it, the SHA-256 of the state that it left, and the architectures that it came to, best
first. It is the input that a strategy's proposals depend on besides seed and history.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components import parts
from components.spec import Part, Spec
from nas_core import registry
from nas_core.errors import InputError
from nas_core.ledger import Ledger
from nas_core.registry import Group
from nas_core.types import Architecture, Metrics

if TYPE_CHECKING:
    from nas_core.interfaces import SearchSpace, SupernetTraining, Task

FOLDER = "supernet"
_KIND = "supernet"
_CHECKPOINTS = 50
_MOST = 100

OnStep = Callable[[int, int, Metrics], None]
"""Told how many steps are done, of how many, and the newest metrics."""


class Trained(NamedTuple):
    """What came of a supernet: where its state is, if it still is, and the architectures that it came to."""

    folder: Path | None
    candidates: tuple[Architecture, ...]


def train(spec: Spec, space: SearchSpace, task: Task, ledger: Ledger, out: Path, on_step: OnStep) -> Trained | None:
    """Train the spec's supernet in `out`, or go on with what is there, and record its end; None if it names none.

    What is on record is not done again, unless the estimator needs the weights and they are gone, or are others.
    InputError if the strategy needs candidates and there are none.
    """
    if spec.search.supernet is None:
        return None
    from nas_core.supernets.driving import FolderSession, drive

    root = out / FOLDER
    trained = recorded(ledger, root)
    if trained is None or (trained.folder is None and _accepts("estimators", spec.search.estimator, "supernet")):
        training: SupernetTraining = parts.build_supernet(spec, space, task)
        session = FolderSession(root, on_report=lambda step, metrics: on_step(step, training.steps, metrics))
        began = time.monotonic()
        drive(training, session, max(1, training.steps // _CHECKPOINTS))
        ledger.append(_KIND, _record(spec.search.supernet, training, session.restore(), time.monotonic() - began))
        trained = recorded(ledger, root)
    if trained is not None and not trained.candidates and spec.search.strategy.kind == "derived":
        raise InputError(
            f"search.strategy: derived has nothing to propose, for {spec.search.supernet.kind} ranks no architectures; "
            "choose another strategy, and the estimator shared"
        )
    return trained


def recorded(ledger: Ledger, root: Path) -> Trained | None:
    """Return the supernet on record, None if none has ended; `root` is where it was trained."""
    newest: Mapping[str, Any] | None = None
    for entry in ledger.entries({_KIND}):
        newest = entry.data
    if newest is None:
        return None
    folder = root / str(newest["steps"])
    candidates = tuple(tuple(candidate) for candidate in newest["candidates"])
    return Trained(folder if _digest(folder) == newest["digest"] else None, candidates)


def applied(spec: Spec, trained: Trained | None) -> Spec:
    """Return `spec` with what came of the supernet among the options of its strategy and its estimator.

    They get it if they have the options `candidates` and `supernet`, and the spec says nothing of these. A strategy
    that wraps another hands candidates on to it.
    """
    if trained is None:
        return spec
    candidates = [list(candidate) for candidate in trained.candidates]
    search = spec.search
    strategy, estimator = search.strategy, search.estimator
    if _accepts("strategies", strategy, "candidates"):
        strategy = parts.overridden(strategy, {"candidates": candidates, **strategy.options})
    elif "around" in strategy.options:
        inner = Part(kind=strategy.options["around"], **strategy.options.get("options", {}))
        if _accepts("strategies", inner, "candidates"):
            strategy = parts.overridden(strategy, {"options": {"candidates": candidates, **inner.options}})
    if trained.folder is not None and _accepts("estimators", estimator, "supernet"):
        estimator = parts.overridden(estimator, {"supernet": str(trained.folder.absolute()), **estimator.options})
    return spec.model_copy(update={"search": search.model_copy(update={"strategy": strategy, "estimator": estimator})})


def _accepts(group: Group, part: Part, option: str) -> bool:
    return part.kind in registry.targets(group) and option in {
        each.name for each in registry.options(registry.load(group, part.kind))
    }


def _record(part: Part, training: SupernetTraining, folder: Path | None, seconds: float) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "options": part.options,
        "steps": training.step,
        "seconds": round(seconds, 3),
        "digest": None if folder is None else _digest(folder),
        "candidates": [list(candidate) for candidate in training.candidates(_MOST)],
    }


def _digest(folder: Path) -> str | None:
    """Return one SHA-256 for the state in `folder`, None if it is not whole."""
    found = hashlib.sha256()
    for name in ("weights.safetensors", "state.json"):
        if not (folder / name).is_file():
            return None
        with (folder / name).open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()
