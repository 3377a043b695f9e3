"""The estimator that trains each architecture and measures it on validation rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.estimators.cost import cost
from nas_core.estimators.fitting import Fitting, Recipe, mixed, seeded
from nas_core.footprint import training_peak_mb
from nas_core.interfaces import SearchSpace, Session, Task
from nas_core.types import Architecture, Metrics, Trial


class Training:
    """Trains from scratch on `train` and measures on `validation`, after every epoch.

    Fidelity is the share of `epochs`. The learning rate follows the course of all epochs whatever the fidelity, so
    that a promoted trial goes on exactly where its parent stopped. Weights and order of rows come from the seed and the
    canonical architecture: twins get the same result, on any worker. The metrics are those of the last epoch, not of
    the best: the best of several noisy figures flatters. Besides the task's they hold `train_loss`, `validation_loss`,
    `params`, `macs` and `flops`. `threads` is torch's number of threads, for the whole process. InputError for an
    option out of range.
    """

    takes = "a training of `epochs` epochs"
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
        threads: int = 1,
    ) -> None:
        if threads < 1:
            raise InputError(f"threads: must be >= 1, got {threads}")
        self._space = space
        self._task = task
        self._seed = seed
        self._threads = threads
        self._recipe = Recipe(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warmup=warmup,
        )

    def estimate(self, trial: Trial, session: Session) -> Metrics:
        """Train to `trial.fidelity` and return the metrics; the step of a report is the number of epochs done.

        Goes on from the trial's own checkpoint, else from the first parent's if that is the same architecture at no
        higher fidelity; reports what they know again. FloatingPointError if the training diverges.
        """
        epochs = max(1, round(trial.fidelity * self._recipe.epochs))
        fitting, figures = self._begin(trial.architecture, session.device)
        for number in (None, *trial.parents[:1]):
            folder = session.restore(number)
            if folder and fitting.load(folder, most=epochs):
                break
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
        (early stopping: Prechelt 1998). `on_epoch` is called with the number of epochs done and the metrics after them.
        """
        fitting, figures = self._begin(architecture, device)
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

    def _begin(self, architecture: Architecture, device: str) -> tuple[Fitting, dict[str, float]]:
        """Return a fresh network of `architecture`, about to be trained, and what it costs."""
        torch.set_num_threads(self._threads)
        canonical = algebra.canonical(self._space, architecture)
        seed = mixed(self._seed, *canonical)
        with seeded(seed, torch.device(device)):
            module = self._space.build(canonical)
        figures = cost(module, self._task, "train")
        return Fitting(module, self._task, self._recipe, seed, device), figures
