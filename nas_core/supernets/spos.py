"""Single path one-shot (Guo et al. 2020): in each step one path of the supernet is trained, drawn uniformly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import Gates, SearchSpace, State, Task
from nas_core.supernets._common import Batches, check_identity, identity, relaxable, seeded, tensors
from nas_core.types import Architecture, Metrics

_VERSION = 1


class SPOS:
    """Trains a supernet one path a step: "Single Path One-Shot Neural Architecture Search" (Guo et al. 2020).

    A path is drawn uniformly, decision by decision. Stochastic gradient descent with Nesterov's momentum; the rate
    falls from `learning_rate` to 0 as a cosine over all of `epochs`, gradients are clipped to the norm `clip`, and what
    a path does not use has no momentum in that step. It ranks nothing itself: search with the estimator `shared`, which
    takes the statistics of normalisations anew for each architecture. `threads` is torch's number of threads.

    InputError for a space without a supernet, and for options out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        seed: int,
        *,
        epochs: int = 50,
        batch_size: int = 128,
        learning_rate: float = 0.05,
        momentum: float = 0.9,
        weight_decay: float = 0.0005,
        clip: float = 5.0,
        threads: int = 1,
    ) -> None:
        for name, value in (("epochs", epochs), ("batch_size", batch_size), ("threads", threads)):
            if value < 1:
                raise InputError(f"{name}: must be >= 1, got {value}")
        if not 0 < learning_rate < math.inf:
            raise InputError(f"learning_rate: must be > 0, got {learning_rate}")
        if not 0 <= momentum < 1:
            raise InputError(f"momentum: must be >= 0 and < 1, got {momentum}")
        if not 0 <= weight_decay < math.inf:
            raise InputError(f"weight_decay: must be >= 0, got {weight_decay}")
        if not 0 < clip < math.inf:
            raise InputError(f"clip: must be > 0, got {clip}")
        self._space = relaxable("spos", space)
        self._task, self._seed, self._rate, self._clip, self._threads = task, seed, learning_rate, clip, threads
        with seeded(seed):
            self.network = self._space.supernet().train()
        self._batches = Batches(task, "train", batch_size, seed)
        self._steps = epochs * self._batches.epoch
        self._step = 0
        self._names = [name for name, _ in self.network.named_parameters()]
        self._optimiser = torch.optim.SGD(
            self.network.parameters(),
            lr=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            nesterov=momentum > 0,
        )
        self._identity = identity(
            "spos",
            _VERSION,
            space,
            seed,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            clip=clip,
        )

    @property
    def step(self) -> int:
        """How many batches have been trained on."""
        return self._step

    @property
    def steps(self) -> int:
        """How many will have been."""
        return self._steps

    def drawn(self, step: int) -> Architecture:
        """Return the architecture that is trained in `step`."""
        return algebra.sample(self._space, np.random.default_rng((self._seed, step)))

    def advance(self) -> Metrics:
        """Train one path on one batch; `train_loss` is the batch's mean. FloatingPointError if it is not finite."""
        torch.set_num_threads(self._threads)
        inputs, targets = self._batches.at(self._step)
        live = self._space.path(self.drawn(self._step))
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate * (1 + math.cos(math.pi * self._step / self._steps)) / 2
        self._optimiser.zero_grad()
        with seeded(self._seed, self._step):
            outputs = self.network(*inputs, gates=Gates(live, (None,) * len(live)))
            loss = self._task.loss(tensors(outputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]  # torch declares it so
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"train_loss is {loss.item()} at step {self._step}")
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._clip)
        self._optimiser.step()
        self._step += 1
        return {"train_loss": loss.item()}

    def state(self) -> State:
        """Return the supernet's weights and the optimiser's momenta."""
        found = {f"supernet.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, values in self._optimiser.state_dict()["state"].items():
            if values["momentum_buffer"] is not None:
                found[f"momentum.{self._names[index]}"] = values["momentum_buffer"]
        live = [list(range(options)) for options in self._space.slots]
        return State(tensors=found, values={"identity": self._identity, "step": self._step, "live": live})

    def load(self, state: State) -> None:
        """Go on from `state`; InputError if another training, or version, saved it."""
        check_identity(self._identity, state)
        weights = {n.removeprefix("supernet."): t for n, t in state.tensors.items() if n.startswith("supernet.")}
        self.network.load_state_dict(weights)
        momenta = {
            index: {"momentum_buffer": state.tensors[f"momentum.{name}"].clone()}
            for index, name in enumerate(self._names)
            if f"momentum.{name}" in state.tensors
        }
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": momenta})
        self._step = state.values["step"]

    def candidates(self, n: int) -> Sequence[Architecture]:  # noqa: ARG002  the contract's
        """Return nothing: what is drawn uniformly has no order."""
        return ()
