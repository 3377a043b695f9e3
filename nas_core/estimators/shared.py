"""The estimator that judges an architecture by the weights of a trained supernet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.estimators.cost import cost
from nas_core.estimators.fitting import predict
from nas_core.interfaces import Relaxable, SearchSpace, Task
from nas_core.types import Architecture, Metrics, Trial

_MODEL = "supernet."
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class Shared:
    """Scores an architecture on `validation` with the weights that a supernet has for it, without training.

    Statistics of normalisations are taken anew for each architecture, from the same `recalibration` batches of
    `batch_size` training rows: those of the supernet are of many architectures at once (Guo et al. 2020, section 3.1).
    The metrics are the task's, `validation_loss`, `params` and `macs`; they rank architectures, and say little of what
    training on its own would give. `supernet` is the folder of a trained supernet's state, by default that of the
    search's own. `threads` is torch's number of threads, for the whole process.

    InputError for a space without a supernet, a state of another space or without weights, and options out of range.
    """

    cost = "a pass over `recalibration` batches and the validation rows"
    reference = "Guo et al. 2020"

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        seed: int,
        *,
        supernet: Path | None = None,
        recalibration: int = 4,
        batch_size: int = 256,
        threads: int = 1,
    ) -> None:
        for name, value in (("recalibration", recalibration), ("batch_size", batch_size), ("threads", threads)):
            if value < 1:
                raise InputError(f"{name}: must be >= 1, got {value}")
        if not isinstance(space, Relaxable):
            raise InputError(f"shared: needs a space with a supernet, {type(space).__name__} has none")
        self._space, self._task, self._seed = space, task, seed
        self._recalibration, self._batch_size, self._threads = recalibration, batch_size, threads
        self._supernet = None if supernet is None else _load(supernet, space)

    @property
    def batch(self) -> int:
        """As many as share the cost of handing the supernet over."""
        return 16

    def estimate_batch(self, trials: Sequence[Trial]) -> list[Metrics]:
        """Return the metrics of each trial's architecture; FloatingPointError if one is not finite."""
        torch.set_num_threads(self._threads)
        return [self.metrics(trial.architecture) for trial in trials]

    def metrics(self, architecture: Architecture) -> Metrics:
        """Return the metrics of `architecture`; InputError where there is no supernet."""
        network = self.network(architecture)
        figures = cost(network, self._task, "train")
        outputs, targets = predict(network, self._task, "validation", torch.device("cpu"))
        loss = self._task.loss(outputs, targets).item()
        if not np.isfinite(loss):
            raise FloatingPointError("validation_loss is not finite")
        return {**self._task.metrics(outputs, targets), "validation_loss": loss, **figures}

    def network(self, architecture: Architecture) -> nn.Module:
        """Return the stand-alone network of `architecture` with the supernet's weights and statistics of its own."""
        if self._supernet is None:
            raise InputError("shared: there is no supernet; set search.supernet, or the option supernet to a folder")
        canonical = algebra.canonical(self._space, architecture)
        with torch.random.fork_rng(devices=[]):
            network = self._space.build(canonical)
        network.load_state_dict(self._space.extract(self._supernet, self._space.path(canonical)))
        return recalibrated(network, self._rows())

    def _rows(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield the inputs of the batches that statistics are taken of, always the same."""
        batches = self._task.batches("train", self._batch_size, np.random.default_rng(self._seed))
        for (inputs, _), _ in zip(batches, range(self._recalibration), strict=False):
            yield inputs


def recalibrated(network: nn.Module, batches: Iterator[tuple[Tensor, ...]]) -> nn.Module:
    """Return `network` in eval mode, the statistics of its normalisations those of the mean batch."""
    norms = [module for module in network.modules() if isinstance(module, _NORMS)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches, each counted once
    network.train()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # dropout draws too
        for inputs in batches:
            network(*inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()


def _load(folder: Path, space: Relaxable) -> nn.Module:
    """Return the supernet whose state `folder` holds."""
    try:
        values = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "weights.safetensors")
    except OSError as error:
        raise InputError(f"supernet: {folder} must hold weights.safetensors and state.json ({error})") from error
    identity = values["identity"]
    if identity["space"] != algebra.digest(space):
        raise InputError(
            f"supernet: {folder} must be of this space, {algebra.digest(space)[:12]}, got {identity['space'][:12]}; "
            "train a supernet of this one"
        )
    weights = {name.removeprefix(_MODEL): tensor for name, tensor in tensors.items() if name.startswith(_MODEL)}
    if not weights:
        raise InputError(
            f"supernet: {identity['method']} trains no weights to share; choose one that does, such as spos"
        )
    network = space.supernet(tuple(tuple(options) for options in values["live"]))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"supernet: {folder} must be of a space with the same options ({error})") from error
    return network.eval()
