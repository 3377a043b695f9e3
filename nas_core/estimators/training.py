"""The estimator that trains each architecture and measures it on validation rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.estimators.cost import cost
from nas_core.estimators.fidelity import Axis, Effort, check_axes, divisible, effort, narrowed, reduced
from nas_core.estimators.fitting import Fitting, Recipe, mixed, seeded
from nas_core.estimators.resampling import Resampled
from nas_core.footprint import training_peak_mb
from nas_core.interfaces import SearchSpace, Session, Task
from nas_core.types import Architecture, Metrics, Trial


class Training:
    """Trains from scratch on `train` and measures on `validation`, after every epoch.

    Fidelity is the share of the cost of a full training; `fidelity` names what is cut down for it: `epochs`, `data`
    (the training rows), `resolution` (of images) and `width` (of the network, where the space can), several of them
    alike (see `nas_core.estimators.fidelity.effort`). The learning rate follows the course of all epochs whatever the
    share of them, so that a promoted trial goes on exactly where its parent stopped. Where all fidelities take all
    epochs, it begins with its parent's weights and trains all epochs anew, on more rows or larger images. A network of
    another width is another network, and is trained from the start.

    `data` is the share of the training rows at full fidelity, stratified, the same for all architectures. With
    `samples` of 2 or more, each trial trains as many networks, each on another sample and with another seed; metrics
    are means over them, and `<metric>_se` their standard errors (see `nas_core.estimators.resampling.Resampled`). Both
    are for judging; `train` makes one network of all rows.

    Weights and order of rows come from the seed and the canonical architecture: twins get the same result, on any
    worker. The metrics are those of the last epoch, not of the best: the best of several noisy figures flatters.
    Besides the task's they hold `train_loss`, `validation_loss`, and the `params`, `macs` and `flops` of the full
    network, whatever the fidelity. `threads` is torch's number of threads, for the whole process. InputError for an
    option out of range, and for an axis that the task or the space has not.
    """

    cost = "a training of `epochs` epochs"
    reference = "AdamW: Loshchilov and Hutter 2019"

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        seed: int,
        *,
        epochs: int = 8,
        batch_size: int = 256,
        learning_rate: float = 0.003,
        weight_decay: float = 0.05,
        warmup: float = 0.1,
        fidelity: Sequence[Axis] = ("epochs",),
        data: float = 1.0,
        samples: int = 1,
        threads: int = 1,
    ) -> None:
        for name, value in (("samples", samples), ("threads", threads)):
            if value < 1:
                raise InputError(f"{name}: must be >= 1, got {value}")
        if not 0 < data <= 1:
            raise InputError(f"data: must be > 0 and <= 1, got {data}")
        if data < 1:
            divisible("data", task)
        check_axes(fidelity, space, task)
        self._space = space
        self._task = task
        self._seed = seed
        self._axes = tuple(fidelity)
        self._data = data
        self._samples = samples
        self._threads = threads
        self._reduced: dict[tuple[float, float, int], Task] = {}
        self._recipe = Recipe(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warmup=warmup,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reduced": {}}

    def estimate(self, trial: Trial, session: Session) -> Metrics:
        """Train to `trial.fidelity` and return the metrics; the step of a report is the number of epochs done.

        Goes on from the trial's own checkpoint, else from the first parent's if that is the same architecture at no
        higher fidelity; reports what they know again. FloatingPointError if the training diverges.
        """
        shares = effort(self._axes, trial.fidelity)
        epochs = max(1, round(shares.epochs * self._recipe.epochs))
        fitting, figures = self._begin(trial.architecture, session.device, shares)
        own = session.restore()
        if own is None or not fitting.load(own, most=epochs):
            for parent in filter(None, map(session.restore, trial.parents[:1])):
                if "epochs" in self._axes:
                    fitting.load(parent, most=epochs)
                else:
                    fitting.start_from(parent)
        metrics: dict[str, float] = {}
        for step in range(1, epochs + 1):
            if step > len(fitting.curve):
                fitting.advance()
            metrics = {**fitting.curve[step - 1], **figures}
            if session.report(step, metrics, fitting.save if step == len(fitting.curve) else None):
                break
        return metrics

    def train(
        self, architecture: Architecture, device: str = "cpu", on_epoch: Callable[[int, Metrics], None] | None = None
    ) -> tuple[nn.Module, Metrics]:
        """Train for all epochs; return the network of the best one, in eval mode on `device`, and its metrics.

        The best has the least validation loss: what is trained to be deployed shall not suffer from too many epochs
        (early stopping: Prechelt 1998). `data` and `samples` have no say. `on_epoch` is called with the number of
        epochs done and the metrics after them.
        """
        fitting, figures = self._full(architecture, device)
        best: dict[str, float] = {}
        weights: dict[str, Tensor] = {}
        for step in range(1, self._recipe.epochs + 1):
            metrics = {**fitting.advance(), **figures}
            if not best or metrics["validation_loss"] < best["validation_loss"]:
                best = metrics
                weights = {name: tensor.clone() for name, tensor in fitting.module.state_dict().items()}
            if on_epoch:
                on_epoch(step, metrics)
        fitting.module.load_state_dict(weights)
        return fitting.module, best

    def peak_memory_mb(self, architecture: Architecture) -> float:
        """Return what the tensors of the training hold at most, in MB of 10^6 bytes; see `nas_core.footprint`."""
        canonical = algebra.canonical(self._space, architecture)
        return training_peak_mb(self._space, self._task, canonical, self._recipe.batch_size)

    def _begin(
        self, architecture: Architecture, device: str, shares: Effort
    ) -> tuple[Fitting | Resampled, dict[str, float]]:
        """Return fresh networks of `architecture`, about to be trained with this effort, and what it costs in full."""
        shares = shares._replace(data=shares.data * self._data)
        if shares.width == 1:
            first, figures = self._full(architecture, device, shares)
        else:
            _, figures = self._full(architecture, device)
            first = self._fitting(architecture, device, shares)
        if self._samples == 1:
            return first, figures
        others = [self._fitting(architecture, device, shares, index) for index in range(1, self._samples)]
        return Resampled([first, *others], self._task), figures

    def _full(
        self,
        architecture: Architecture,
        device: str,
        shares: Effort = Effort(),  # noqa: B008  it is immutable
    ) -> tuple[Fitting, dict[str, float]]:
        """Return a fresh network of full width, about to be trained, and what it costs at full resolution."""
        fitting = self._fitting(architecture, device, shares)
        return fitting, cost(fitting.module, self._task, "train")

    def _fitting(self, architecture: Architecture, device: str, shares: Effort, sample: int = 0) -> Fitting:
        torch.set_num_threads(self._threads)
        canonical = algebra.canonical(self._space, architecture)
        seed = mixed(self._seed, *canonical, *([sample] if sample else []))
        with seeded(seed, torch.device(device)):
            module = narrowed(self._space, shares.width).build(canonical)
        return Fitting(module, self._rows(shares, sample), self._recipe, seed, device, shares)

    def _rows(self, shares: Effort, sample: int) -> Task:
        """Return the task with that share of rows and resolution; made once, for all architectures have it."""
        key = (shares.data, shares.resolution, sample)
        if key not in self._reduced:
            self._reduced[key] = reduced(self._task, shares, mixed(self._seed, sample))
        return self._reduced[key]
