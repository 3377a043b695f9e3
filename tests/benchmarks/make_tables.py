"""Makes the generic benchmark tables of this folder by training every member of three small spaces.

    python tests/benchmarks/make_tables.py widths --data FOLDER
    python tests/benchmarks/make_tables.py recipe
    python tests/benchmarks/make_tables.py chain --seeds 1

`widths` (4,096 members) is a perceptron for Fashion-MNIST at 7 by 7 pixels: the width of each of four layers.
`recipe` (3,072) is one for scikit-learn's digits: depth, width, activation, learning rate and weight decay.
`chain` (1,024) is a residual network for the digits' images: an operation in each of five layers.

Networks are trained many at once, as batched matrix products and grouped convolutions; each figure is the mean over
seeds. Training sets are small and training is long, so that more weights are not always better. Figures are, on
validation and test rows, accuracy and the mean negative log-likelihood in nats; besides, the number of weights.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as f

FOLDER = Path(__file__).with_name("tables")
CLASSES = 10
BATCH = 50
CHANNELS = 8
DEPTH = 5
OPERATIONS = {
    "identity": 0,
    "conv_3x3": 9 * CHANNELS**2,
    "separable_3x3": 9 * CHANNELS + CHANNELS**2,
    "max_pool_3x3": 0,
}
"""Operations of a layer of the chain, and how many weights each has."""

Forward = Callable[[Tensor], Tensor]
"""Rows (B, ...) -> logits (M, B, CLASSES) of M networks."""


@dataclass(frozen=True)
class Data:
    """Rows and labels to train on, to validate with, and to test with."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def split(x: NDArray[np.float64], y: NDArray[np.int64], train: int, validation: int) -> Data:
    """Return so many rows of each split, the rest for testing, standardised as a whole."""
    order = np.random.default_rng(0).permutation(len(x))
    rows = torch.tensor((x - x.mean()) / x.std(), dtype=torch.float32)[order]
    labels = torch.tensor(y, dtype=torch.int64)[order]
    ends = (train, train + validation)
    parts = [(rows[a:b], labels[a:b]) for a, b in ((0, ends[0]), ends, (ends[1], len(x)))]
    return Data(*parts)


def fashion(folder: Path) -> Data:
    """Return Fashion-MNIST, small, as 49 means of 4 by 4 pixels."""
    with np.load(folder / "fashion_mnist_small.npz", allow_pickle=False) as file:
        x = np.concatenate([file["x_train"], file["x_test"]]).astype(np.float64)
        y = np.concatenate([file["y_train"], file["y_test"]]).astype(np.int64)
    return split(x.reshape(-1, 7, 4, 7, 4).mean((2, 4)).reshape(-1, 49), y, train=400, validation=3000)


def digits() -> Data:
    """Return the digits' 8 by 8 images, flat."""
    x, y = load_digits(return_X_y=True)
    return split(x, y, train=300, validation=700)


# ---------------------------------------------------------------- training many networks at once


@dataclass(frozen=True)
class Group:
    """Networks that are computed together, and how many weights each has, (M,).

    Learning rates and weight decays are (M,) where every parameter has the network as its first dimension, else (1,).
    """

    parameters: list[Tensor]
    forward: Forward
    sizes: NDArray[np.int64]
    rates: Tensor
    decays: Tensor


def train(group: Group, data: Data, epochs: int, generator: torch.Generator) -> None:
    """Train by AdamW (Loshchilov and Hutter 2019); learning rates follow half a cosine to 0."""
    parameters, forward = group.parameters, group.forward
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
    steps = epochs * (len(data.train[0]) // BATCH)
    for step in range(steps):
        if step % (steps // epochs) == 0:
            order = torch.randperm(len(data.train[0]), generator=generator)
        rows = order[BATCH * (step % (steps // epochs)) :][:BATCH]
        logits = forward(data.train[0][rows])
        loss = f.cross_entropy(logits.flatten(0, 1), data.train[1][rows].repeat(len(logits)), reduction="sum") / BATCH
        rates = group.rates * 0.5 * (1 + math.cos(math.pi * step / steps))
        corrected = rates * math.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        for p, g, (mean, square) in zip(parameters, torch.autograd.grad(loss, parameters), moments, strict=True):
            mean.lerp_(g, 0.1)
            square.mul_(0.999).addcmul_(g, g, value=0.001)
            shape = (-1, *[1] * (p.ndim - 1))
            p.data.mul_(1 - (rates * group.decays).view(shape))
            p.data.sub_(corrected.view(shape) * mean / square.sqrt().add_(1e-8))


@torch.inference_mode()
def measure(forward: Forward, data: Data) -> dict[str, NDArray[np.float64]]:
    """Return accuracy and negative log-likelihood of each network on validation and test rows, (M,) each."""
    figures = {}
    for prefix, (x, y) in (("", data.validation), ("test_", data.test)):
        logits = torch.cat([forward(rows) for rows in torch.split(x, 200)], dim=1)
        loss = f.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)), reduction="none").view(len(logits), -1)
        figures[f"{prefix}accuracy"] = (logits.argmax(-1) == y).double().mean(1).numpy()
        figures[f"{prefix}log_loss"] = loss.double().mean(1).numpy()
    return figures


def weights(sizes_in: Sequence[int], sizes_out: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return He-normal matrices (M, largest in, largest out), zero beyond each network's own sizes.

    Zeros stay: a unit that gets nothing gives nothing and has no gradient.
    """
    drawn = torch.randn(len(sizes_in), max(sizes_in), max(sizes_out), generator=generator)
    ins, outs = torch.tensor(sizes_in).view(-1, 1, 1), torch.tensor(sizes_out).view(-1, 1, 1)
    used = (torch.arange(max(sizes_in)).view(1, -1, 1) < ins) & (torch.arange(max(sizes_out)).view(1, 1, -1) < outs)
    return (drawn * used * (2 / ins).sqrt()).requires_grad_()


def perceptrons(
    inputs: int,
    widths: Sequence[tuple[int, ...]],
    activation: Callable[[Tensor], Tensor],
    rates: Sequence[float],
    decays: Sequence[float],
    generator: torch.Generator,
) -> Group:
    """Return perceptrons with these `widths` of their layers, as many for each of them."""
    sizes = [[inputs] * len(widths), *map(list, zip(*widths, strict=True)), [CLASSES] * len(widths)]
    matrices = [weights(a, b, generator) for a, b in pairwise(sizes)]
    biases = [torch.zeros(len(widths), 1, m.shape[2], requires_grad=True) for m in matrices]

    def forward(rows: Tensor) -> Tensor:
        h = torch.baddbmm(biases[0], rows.expand(len(widths), -1, -1), matrices[0])
        for bias, matrix in zip(biases[1:], matrices[1:], strict=True):
            h = torch.baddbmm(bias, activation(h), matrix)
        return h

    count = sum(np.array(a) * b + b for a, b in pairwise(sizes))
    return Group([*matrices, *biases], forward, count, torch.tensor(rates), torch.tensor(decays))


class Layer:
    """One layer of many networks, an operation for each; what is not an identity is added to its input."""

    def __init__(self, operations: Sequence[str], generator: torch.Generator) -> None:
        def drawn(*shape: int) -> Tensor:
            return (torch.randn(*shape, generator=generator) * math.sqrt(1 / math.prod(shape[1:]))).requires_grad_()

        self._places = {o: [i for i, each in enumerate(operations) if each == o] for o in OPERATIONS}
        self._order = torch.tensor([i for places in self._places.values() for i in places]).argsort()
        full, separable = (len(self._places[o]) * CHANNELS for o in ("conv_3x3", "separable_3x3"))
        self._full = drawn(full, CHANNELS, 3, 3)
        self._depthwise, self._pointwise = drawn(separable, 1, 3, 3), drawn(separable, CHANNELS, 1, 1)
        self.parameters = [p for p in (self._full, self._depthwise, self._pointwise) if len(p)]

    def __call__(self, h: Tensor) -> Tensor:
        """Return (B, M, C, H, W) of the same."""
        found = [self._apply(o, h[:, places].flatten(1, 2)) for o, places in self._places.items() if places]
        return torch.cat(found, dim=1).view(h.shape)[:, self._order]

    def _apply(self, operation: str, h: Tensor) -> Tensor:
        if operation == "identity":
            return h
        if operation == "max_pool_3x3":
            return f.max_pool2d(h, 3, stride=1, padding=1)
        if operation == "conv_3x3":
            return h + f.conv2d(h.relu(), self._full, padding=1, groups=h.shape[1] // CHANNELS)
        spread = f.conv2d(h.relu(), self._depthwise, padding=1, groups=h.shape[1])
        return h + f.conv2d(spread, self._pointwise, groups=h.shape[1] // CHANNELS)


def residual(operations: Sequence[tuple[str, ...]], rate: float, generator: torch.Generator) -> Group:
    """Return residual networks with these `operations` of their layers, between a convolution and a linear map."""
    m, features = len(operations), 4 * CHANNELS
    stem = torch.randn(m * CHANNELS, 1, 3, 3, generator=generator) / 3
    head = torch.randn(m, features, CLASSES, generator=generator) / math.sqrt(features)
    bias = torch.zeros(m, 1, CLASSES)
    layers = [Layer(each, generator) for each in zip(*operations, strict=True)]

    def forward(rows: Tensor) -> Tensor:
        h = f.avg_pool2d(f.conv2d(rows.view(-1, 1, 8, 8), stem, padding=1).relu(), 2)
        h = h.view(len(rows), m, CHANNELS, 4, 4)
        for layer in layers:
            h = layer(h)
        h = f.avg_pool2d(h.flatten(1, 2), 2).view(len(rows), m, features)
        return torch.baddbmm(bias, h.transpose(0, 1), head)

    ends = [tensor.requires_grad_() for tensor in (stem, head, bias)]
    own = 9 * CHANNELS + (features + 1) * CLASSES
    sizes = np.array([own + sum(OPERATIONS[o] for o in each) for each in operations])
    parameters = [*ends, *(p for layer in layers for p in layer.parameters)]
    return Group(parameters, forward, sizes, torch.tensor([rate]), torch.zeros(1))


# ---------------------------------------------------------------- the tables


@dataclass(frozen=True)
class Plan:
    """A table: its decisions' options, its data, and its members cut into groups of architectures that fit together."""

    options: Mapping[str, Sequence[object]]
    dataset: str
    data: Data
    group: Callable[[Sequence[tuple[int, ...]], torch.Generator], Group]
    alike: Callable[[tuple[int, ...]], object]
    epochs: int


def widths(folder: Path) -> Plan:
    options = (4, 6, 8, 12, 16, 20, 24, 32)

    def group(members: Sequence[tuple[int, ...]], generator: torch.Generator) -> Group:
        chosen = [tuple(options[i] for i in member) for member in members]
        rates, decays = [0.006] * len(members), [0.0] * len(members)
        return perceptrons(49, chosen, f.relu, rates, decays, generator)

    names = [f"width_{layer}" for layer in range(1, 5)]
    # Networks of one group are padded to the widest, so those with equal first widths go together.
    return Plan(dict.fromkeys(names, options), "fashion", fashion(folder), group, lambda m: m[:2], epochs=30)


def recipe(_folder: Path) -> Plan:
    activations: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": f.relu,
        "tanh": torch.tanh,
        "gelu": f.gelu,
        "sine": torch.sin,
    }
    options: dict[str, Sequence[Any]] = {
        "depth": (1, 2, 3, 4),
        "width": (4, 6, 8, 12, 16, 24, 32, 48),
        "activation": tuple(activations),
        "learning_rate": (0.001, 0.002, 0.004, 0.008, 0.016, 0.032),
        "weight_decay": (0.0, 0.1, 0.3, 1.0),
    }

    def group(members: Sequence[tuple[int, ...]], generator: torch.Generator) -> Group:
        chosen = [[each[i] for each, i in zip(options.values(), m, strict=True)] for m in members]
        layers = [(width,) * depth for depth, width, *_ in chosen]
        rates, decays = [c[3] for c in chosen], [c[4] for c in chosen]
        return perceptrons(64, layers, activations[chosen[0][2]], rates, decays, generator)

    return Plan(options, "digits", digits(), group, lambda m: (m[0], m[1], m[2]), epochs=30)


def chain(_folder: Path) -> Plan:
    names = tuple(OPERATIONS)

    def group(members: Sequence[tuple[int, ...]], generator: torch.Generator) -> Group:
        return residual([tuple(names[i] for i in member) for member in members], 0.01, generator)

    options = {f"layer_{layer}": names for layer in range(1, DEPTH + 1)}
    return Plan(options, "digits", digits(), group, lambda m: m[:2], epochs=25)


PLANS = {"widths": widths, "recipe": recipe, "chain": chain}


def run(plan: Plan, seeds: int) -> dict[str, NDArray[np.float64]]:
    """Train all members; return their figures, means over seeds, in lexicographic order."""
    members = list(product(*(range(len(options)) for options in plan.options.values())))
    groups = [list(each) for _, each in groupby(members, key=plan.alike)]
    means: list[dict[str, NDArray[np.float64]]] = []
    for number, each in enumerate(track(groups, console=Console(stderr=True))):
        found = []
        for seed in range(seeds):
            generator = torch.Generator().manual_seed(1000 * number + seed)
            group = plan.group(each, generator)
            train(group, plan.data, plan.epochs, generator)
            found.append({**measure(group.forward, plan.data), "params": group.sizes.astype(np.float64)})
        means.append({name: np.mean([one[name] for one in found], axis=0) for name in found[0]})
    return {name: np.concatenate([each[name] for each in means]) for name in means[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=PLANS)
    parser.add_argument("--data", type=Path, default=Path(), help="where fashion_mnist_small.npz is")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each member (2)")
    parser.add_argument("--out", type=Path, help="where to write (tables/<table>.npz)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    plan = PLANS[given.table](given.data)
    figures = run(plan, given.seeds)
    texts = [[str(option) for option in options] for options in plan.options.values()]
    arrays: dict[str, Any] = {
        "architectures": np.array(list(product(*map(range, map(len, texts)))), dtype=np.uint8),
        "decision_names": np.array(list(plan.options)),
        "options": np.array(json.dumps(texts)),
        **{f"{plan.dataset}/{name}": column.astype(np.float32) for name, column in figures.items()},
    }
    np.savez_compressed(given.out or FOLDER / f"{given.table}.npz", allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
