"""From prepared data to the best architecture within the limits, each trial in the ledger before it counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from components import parts, spending, supernets
from components.placement import admitted
from components.prepared import Prepared
from components.spec import LocalRunnerSpec, Spec
from nas_core import objectives as order
from nas_core import space as algebra
from nas_core.checkpoints import Checkpoints
from nas_core.choosing import SIGNS, Rule, choose
from nas_core.errors import EvernasError, InputError, OutsideError
from nas_core.estimators.costed import costed
from nas_core.interfaces import Rung, Runner, SearchSpace
from nas_core.ledger import Ledger
from nas_core.runner import CheckpointStore, LocalRunner
from nas_core.study import LedgerStudy
from nas_core.types import Objective, Status, Trial

SEEN = ("train", "validation")
"""The splits that a search is given; the others do not exist for it."""


def search(
    spec: Spec,
    data: Path,
    ledger: Ledger,
    out: Path,
    *,
    name: str,
    on_trial: Callable[[LedgerStudy, Trial], None],
    checkpoints: Callable[[], CheckpointStore] | None = None,
    on_supernet: supernets.OnStep = lambda _step, _steps, _metrics: None,
) -> dict[str, Any]:
    """Search until the budget is spent and return the best architecture with how it was found.

    `ledger` holds what an earlier, interrupted call already did; it goes on from there. `name` names the cycle in the
    runner's own places; `on_trial` is called whenever a trial changes, `on_supernet` as the supernet's training
    advances, which comes before the first trial and counts in no budget. Checkpoints are kept of the Pareto front only,
    in `out`, and meanwhile in what `checkpoints` opens, if trials may run where they cannot see `out`;
    `exhausted` in the result tells that the strategy had no more to propose before the budget was spent. InputError
    if no trial keeps the limits, OutsideError if all were lost, EvernasError if none came out.
    """
    prepared = Prepared.load(data)
    space = parts.build_space(spec, prepared.signature)
    task = prepared.task(*SEEN, **spec.task.augmentation)
    spec = supernets.applied(spec, supernets.train(spec, space, task, ledger, out, on_supernet))
    study = LedgerStudy(
        ledger,
        space,
        parts.objectives(spec),
        parts.build_strategy(spec, space),
        stopper=parts.build_stopper(spec),
        on_change=lambda trial: on_trial(study, trial),
    )
    estimator = parts.build_estimator(spec, space, task)
    costs = parts.build_costs(spec, space, task)
    rungs = [Rung(1.0, costed(space, estimator, costs, out.resolve() / "_costs"))]
    checkpoints = checkpoints or partial(Checkpoints, out.resolve())
    budget = spending.budget(spec.search)
    behind = admitted(spec.search.runner, study, estimator, budget)
    _runner(spec, out, name, checkpoints).run(behind, rungs, budget)
    result = {
        **_result(space, study.history, parts.objectives(spec), parts.rule(spec)),
        "exhausted": study.exhausted,
        "spent": spending.spent(spec.search, study.spent),
    }
    _record(ledger, {"trial": result["trial"], **result["choice"]})
    saved = checkpoints()
    saved.keep(result["front"])
    for number in result["front"]:
        saved.newest(number)  # so that it is in `out`
    return result


def _runner(spec: Spec, out: Path, name: str, checkpoints: Callable[[], CheckpointStore]) -> Runner:
    runner = spec.search.runner
    if isinstance(runner, LocalRunnerSpec):
        return LocalRunner(timeout=runner.timeout_seconds, checkpoints=checkpoints())
    from components.backends.ray_tune import RayRunner

    return RayRunner(runner, out, name, checkpoints)


def _record(ledger: Ledger, choice: dict[str, Any]) -> None:
    """Record the choice, once: a stage that was killed after it is done again."""
    before = [entry.data for entry in ledger.entries({"choice"})]
    if before[-1:] != [choice]:
        ledger.append("choice", choice)


def _result(
    space: SearchSpace, history: Sequence[Trial], objectives: Sequence[Objective], rule: Rule
) -> dict[str, Any]:
    own = [trial for trial in history if not trial.origin]
    # Retraining is from scratch, so what got furthest will do where the budget ended before a trial in full.
    furthest = max((trial.fidelity for trial in own if trial.status is Status.OK), default=1.0)
    full = [trial for trial in own if trial.fidelity == furthest]
    choice = choose(full, objectives, rule)
    if choice is None:
        raise _none(full or own, objectives)
    best = choice.trial
    return {
        "trial": best.number,
        "fidelity": best.fidelity,
        "architecture": list(best.architecture),
        "architecture_id": algebra.canonical_id(space, best.architecture),
        "decisions": algebra.describe(space, best.architecture),
        "metrics": dict(best.metrics or {}),
        "choice": choice.why,
        "front": [trial.number for trial in order.pareto_front(full, objectives)],
        "candidates": len(own),
        "statuses": dict(Counter(str(trial.status) for trial in own)),
        "space_size": algebra.size(space),
        "cost_seconds": round(sum(trial.cost_seconds for trial in own), 3),
    }


def _none(trials: Sequence[Trial], objectives: Sequence[Objective]) -> EvernasError:
    """Return the error that says why there is no best of `trials`: what failed, or what came nearest to the limits."""
    done = [(trial, trial.metrics) for trial in trials if trial.status is Status.OK and trial.metrics is not None]
    if done:
        near, metrics = min(done, key=lambda pair: order.key(pair[1], objectives))
        limits = ", ".join(f"{o.metric} {SIGNS[o.goal]} {o.limit:g}" for o in objectives if o.limit is not None)
        have = ", ".join(f"{o.metric} {order.value(metrics, o):g}" for o in objectives)
        return InputError(
            f"search.objectives: none of {len(done)} candidates keeps the limits ({limits}); the nearest, trial "
            f"{near.number}, has {have}; loosen a limit, or change the space or the budget"
        )
    if not trials:
        return EvernasError("search: no candidate was evaluated; give search.budget more seconds")
    lost = all(trial.status is Status.LOST for trial in trials)
    counts = ", ".join(f"{count} {status}" for status, count in Counter(str(t.status) for t in trials).items())
    told = f"search: no candidate came out ({counts}); the first ended with: {trials[0].error or trials[0].status}"
    return OutsideError(told) if lost else EvernasError(told)
