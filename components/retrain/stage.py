"""The best architecture, trained from scratch with several seeds, to be deployed as the seed best on validation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from components import parts
from components.model import predict, save_model
from components.prepared import Prepared
from components.retrain.baseline import baseline
from components.spec import Spec
from nas_core import objectives as order
from nas_core.errors import EvernasError
from nas_core.failures import finite
from nas_core.interfaces import Task
from nas_core.types import Architecture, Metrics, Objective

if TYPE_CHECKING:
    from torch import nn

SEEN = ("train", "validation")
"""The splits that training is given; `test` is looked at afterwards, and decides nothing."""

OnEpoch = Callable[[int, int, Metrics], None]


def retrain(spec: Spec, architecture: Architecture, data: Path, out: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Train `architecture` with `spec.retrain.seeds` seeds and write each model to a folder of `out`.

    Which seed is deployed is decided on validation by the limits and the first objective, of those that training
    measures; test figures are for the record only. `on_epoch` is called with the index of the seed, the epochs done and
    the metrics after them. The result has all seeds with their curves, the spread of the test accuracy (a share of 1;
    sample standard deviation), and what a baseline reaches on the same rows. EvernasError if a training diverges.
    """
    prepared = Prepared.load(data)
    task, record = prepared.task(*SEEN, **spec.task.augmentation), prepared.task("test")
    test = prepared.arrays("test")
    seeds: list[dict[str, Any]] = []
    for index in range(spec.retrain.seeds):
        seed, started = spec.seed + index, time.monotonic()
        module, validation, curve = _train(spec, prepared, task, architecture, seed, partial(on_epoch, index))
        save_model(
            out / f"seed-{seed}",
            module,
            space=parts.final_space(spec),
            signature=prepared.signature,
            architecture=architecture,
        )
        seeds.append(
            {
                "seed": seed,
                "validation": validation,
                "test": _test_metrics(module, record, test),
                "params": sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad),
                "seconds": round(time.monotonic() - started, 3),
                "curve": curve,
            }
        )
    goals = _measured(parts.objectives(spec), seeds)
    best = min(range(len(seeds)), key=lambda i: order.key(seeds[i]["validation"], goals))
    return {
        "seeds": seeds,
        "best": best,
        "model": f"seed-{seeds[best]['seed']}",
        "test_accuracy": _spread([entry["test"]["accuracy"] for entry in seeds]),
        "params": seeds[best]["params"],
        "baseline": baseline(prepared.kind, prepared.signature, prepared.arrays("train"), test, spec.seed)._asdict(),
    }


def _measured(objectives: Sequence[Objective], seeds: Sequence[Mapping[str, Any]]) -> list[Objective]:
    """Return those of the search's objectives that training measures; a looked-up latency is the search's alone."""
    return [o for o in objectives if all(o.metric in entry["validation"] for entry in seeds)]


def _train(
    spec: Spec,
    prepared: Prepared,
    task: Task,
    architecture: Architecture,
    seed: int,
    on_epoch: Callable[[int, Metrics], None],
) -> tuple[nn.Module, dict[str, float], list[list[Any]]]:
    """Return the trained network on the CPU, its validation metrics, and its curve as `[epoch, metrics]`."""
    trainer = parts.build_trainer(spec, parts.build_final_space(spec, prepared.signature), task, seed)
    curve: list[list[Any]] = []

    def note(epoch: int, metrics: Metrics) -> None:
        curve.append([epoch, finite(metrics)])
        on_epoch(epoch, metrics)

    try:
        module, validation = trainer.train(architecture, _device(), note)
        return module.cpu(), finite(validation), curve
    except FloatingPointError as error:
        raise EvernasError(
            f"retrain: the training with seed {seed} diverged ({error}); "
            "set a lower learning_rate for the estimator that trains"
        ) from error


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _test_metrics(module: nn.Module, task: Task, test: Any) -> dict[str, float]:
    inputs, targets = test
    log_probabilities = torch.log(torch.from_numpy(predict(module, inputs)).clamp_min(1e-12))
    return finite(task.metrics((log_probabilities,), (torch.from_numpy(targets),)))


def _spread(values: Sequence[float]) -> Mapping[str, Any]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": deviation, "seeds": list(values)}
