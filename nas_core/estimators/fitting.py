"""One network in training: an epoch at a time, measured after each, and resumable bit for bit.

Nothing random is carried over: the order of the rows and the dropout of an epoch come from (seed, epoch).
On a CPU the weights after n epochs are therefore the same however often the training was interrupted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nas_core.errors import InputError
from nas_core.estimators.fidelity import Effort
from nas_core.interfaces import Task

_EVALUATION_BATCH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained: AdamW (Loshchilov and Hutter 2019), its rate rising linearly, then falling as a cosine.

    `warmup` is the share of all steps in which the rate rises to `learning_rate`; at the last step it is almost 0.
    InputError for a value out of range.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: must be >= 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate: must be > 0, got {self.learning_rate}")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay: must be >= 0, got {self.weight_decay}")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup: must be >= 0 and < 1, got {self.warmup}")

    def rate(self, progress: float) -> float:
        """Return the learning rate when the share `progress` of all steps is done."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        return self.learning_rate * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup))) / 2


class Fitting:
    """Trains `module` in place on the split `train` of `task` and measures it on `validation`.

    `curve` holds the metrics after each epoch that is done, `seen` the outputs and targets that the newest are of.
    `effort` says how far `module` and `task` have been cut down, which decides what can be gone on from.
    """

    def __init__(
        self,
        module: nn.Module,
        task: Task,
        recipe: Recipe,
        seed: int,
        device: str = "cpu",
        effort: Effort = Effort(),  # noqa: B008  it is immutable
    ) -> None:
        self.module = module.to(device)
        self.curve: list[dict[str, float]] = []
        self.seen: tuple[tuple[Tensor, ...], tuple[Tensor, ...]] = ((), ())
        self._effort = effort
        self._task = task
        self._recipe = recipe
        self._seed = seed
        self._device = torch.device(device)
        self._optimiser = torch.optim.AdamW(
            module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )

    def advance(self) -> dict[str, float]:
        """Train one epoch and return its metrics: the task's on `validation`, `validation_loss` and `train_loss`.

        Losses are means over rows; the latter's were seen while training. FloatingPointError if a loss or a metric is
        not finite; it names the step.
        """
        epoch = len(self.curve)
        with seeded(mixed(self._seed, epoch), self._device):
            train_loss = self._train(epoch)
        self.seen = outputs, targets = predict(self.module, self._task, "validation", self._device)
        metrics = {
            **self._task.metrics(outputs, targets),
            "train_loss": train_loss,
            "validation_loss": self._task.loss(outputs, targets).item(),
        }
        if wrong := [name for name, value in metrics.items() if not math.isfinite(value)]:
            raise FloatingPointError(f"{', '.join(wrong)} not finite after epoch {epoch + 1}")
        self.curve.append(metrics)
        return metrics

    def _train(self, epoch: int) -> float:
        size = self._recipe.batch_size
        steps = math.ceil(self._task.rows("train") / size)
        order = np.random.default_rng((self._seed, epoch))
        losses = []
        self.module.train()
        for step, (inputs, targets) in enumerate(self._task.batches("train", size, order)):
            rate = self._recipe.rate((epoch * steps + step + 0.5) / (self._recipe.epochs * steps))
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            self._optimiser.zero_grad()
            loss = self._task.loss(_forward(self.module, inputs, self._device), _to(targets, self._device))
            loss.backward()  # type: ignore[no-untyped-call]  # torch declares it so
            self._optimiser.step()
            losses.append(loss.detach())
        found = torch.stack(losses).cpu()  # once an epoch: on a GPU, each look at a loss waits for it
        if not found.isfinite().all():
            first = int((~found.isfinite()).nonzero()[0])
            raise FloatingPointError(f"train_loss is {found[first].item()} at step {epoch * steps + first}")
        return found.double().mean().item()

    def save(self, folder: Path) -> None:
        """Write weights and optimiser to `weights.safetensors`; last, `state.json` says what they are."""
        tensors = {f"model.{name}": tensor for name, tensor in self.module.state_dict().items()}
        for index, values in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in values.items()}
        save_file({name: tensor.cpu().clone() for name, tensor in tensors.items()}, folder / "weights.safetensors")
        state = {"identity": self._identity, "effort": self._effort, "curve": self.curve}
        (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")

    def load(self, folder: Path, most: int) -> bool:
        """Go on from what `save` wrote to `folder`; False, and no change, if that is of no use here.

        Of use is the same training (recipe, seed and width) with at most `most` epochs done.
        """
        state = _state(folder)
        if state["identity"] != self._identity or len(state["curve"]) > most:
            return False
        model, optimiser = _weights(folder)
        self.module.load_state_dict(model)
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": optimiser})
        self.curve = state["curve"]
        return True

    def start_from(self, folder: Path) -> bool:
        """Begin the training anew with the weights that `save` wrote to `folder`; False if that is of no use here.

        Of use is the same training at less effort.
        """
        state = _state(folder)
        if state["identity"] != self._identity or not Effort(*state["effort"]).within(self._effort):
            return False
        self.module.load_state_dict(_weights(folder)[0])
        return True

    @property
    def _identity(self) -> dict[str, Any]:
        return {"seed": self._seed, "width": self._effort.width, **asdict(self._recipe)}


def _state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return state


def _weights(folder: Path) -> tuple[dict[str, Tensor], dict[int, dict[str, Tensor]]]:
    """Return the state of the module, and that of the optimiser by parameter, of what `Fitting.save` wrote."""
    model: dict[str, Tensor] = {}
    optimiser: dict[int, dict[str, Tensor]] = {}
    for name, tensor in load_file(folder / "weights.safetensors").items():
        owner, _, rest = name.partition(".")
        if owner == "model":
            model[rest] = tensor
        else:
            index, _, key = rest.partition(".")
            optimiser.setdefault(int(index), {})[key] = tensor
    return model, optimiser


def predict(
    module: nn.Module, task: Task, split: str, device: torch.device
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return outputs and targets of all rows of `split`, on the CPU; leaves the module in eval mode."""
    module.eval()
    outputs, targets = [], []
    with torch.no_grad():
        for inputs, expected in task.batches(split, _EVALUATION_BATCH):
            outputs.append(_to(_forward(module, inputs, device), torch.device("cpu")))
            targets.append(expected)
    return _joined(outputs), _joined(targets)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Give torch's global generators a seed for a while; afterwards they are as they were."""
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        torch.manual_seed(seed)
        yield


def mixed(*parts: int) -> int:
    """Return one seed in [0, 2^63) for several non-negative numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _forward(module: nn.Module, inputs: tuple[Tensor, ...], device: torch.device) -> tuple[Tensor, ...]:
    outputs = module(*_to(inputs, device))
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _to(tensors: tuple[Tensor, ...], device: torch.device) -> tuple[Tensor, ...]:
    return tuple(tensor.to(device) for tensor in tensors)


def _joined(batches: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
