"""How fast supernets are trained, beside the reference implementation of NAS-Bench-201's authors.

    python tests/benchmarks/supernet.py --reference AutoDL-Projects --json supernet.json

`--reference` is a checkout of https://github.com/D-X-Y/AutoDL-Projects, of which only the search models are loaded.

speed.darts         the reference's time for a step of first-order DARTS over ours
speed.single_path   the reference's time for steps of random paths over ours, the same paths

NAS-Bench-201's supernet with `--channels` and `--cells`, batches of `--batch` random images of `--side` pixels, float32
and one thread, both in one process, step by step in turns, in CPU time; the median of the turns' ratios, and for paths
the ratio of the sums. Both have equal weights, and before anything is timed their logits are compared: `speed.logits`
is the largest difference over the largest logit.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from nas_core.interfaces import Gates
from nas_core.spaces._cells import NAS_BENCH_201_OPTIONS, NasBench201Cell
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.types import Architecture, Port, Signature

CLASSES = 10
CLIP = 5.0
SGD: dict[str, Any] = {"lr": 0.025, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
ADAM: dict[str, Any] = {"lr": 3e-4, "betas": (0.5, 0.999), "weight_decay": 1e-3}
Rows = tuple[Tensor, Tensor]


class Ours:
    """The supernet of `nas_core.spaces.nas_bench_201`, with steps as a training takes them."""

    def __init__(self, channels: int, cells: int) -> None:
        image, classes = Port(name="image", shape=(3, 32, 32)), Port(name="class", shape=(CLASSES,), classes=CLASSES)
        self.space = NasBench201(Signature(inputs=(image,), outputs=(classes,)), channels=channels, cells=cells)
        self.network = self.space.supernet()
        self.alphas = torch.zeros(6, len(NAS_BENCH_201_OPTIONS), requires_grad=True)
        self._weights = torch.optim.SGD(self.network.parameters(), **SGD)
        self._alphas = torch.optim.Adam([self.alphas], **ADAM)

    def mixture(self, images: Tensor, alphas: Tensor) -> Tensor:
        everything = tuple(tuple(range(options)) for options in self.space.slots)
        logits: Tensor = self.network(images, gates=Gates(everything, alphas.softmax(1).unbind()))
        return logits

    def path(self, images: Tensor, architecture: Architecture) -> Tensor:
        logits: Tensor = self.network(images, gates=Gates(self.space.path(architecture), (None,) * 6))
        return logits

    def darts(self, train: Rows, validation: Rows) -> None:
        self._train(self.mixture(train[0], self.alphas.detach()), train[1])
        loss = functional.cross_entropy(self.mixture(validation[0], self.alphas), validation[1])
        (self.alphas.grad,) = torch.autograd.grad(loss, [self.alphas])  # and no weight's
        self._alphas.step()

    def single_path(self, train: Rows, architecture: Architecture) -> None:
        self._train(self.path(train[0], architecture), train[1])

    def _train(self, logits: Tensor, target: Tensor) -> None:
        self._weights.zero_grad()
        functional.cross_entropy(logits, target).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self._weights.step()


class Reference:
    """`GenericNAS201Model` with affine normalisations, and the steps of the reference's `search-cell.py`."""

    def __init__(self, root: Path, channels: int, cells: int) -> None:
        models = _search_models(root)
        self._structure = models.genotypes.Structure
        self.network = models.generic_model.GenericNAS201Model(
            channels, cells, 4, CLASSES, list(NAS_BENCH_201_OPTIONS), True, True
        )
        self.network.set_algo("darts")
        nn.init.zeros_(self.network.arch_parameters)
        self._weights = torch.optim.SGD(self.network.weights, **SGD)
        self._alphas = torch.optim.Adam([self.network.arch_parameters], **ADAM)

    def mixture(self, images: Tensor) -> Tensor:
        self.network.set_cal_mode("joint")
        logits: Tensor = self.network(images)[1]
        return logits

    def path(self, images: Tensor, architecture: Architecture) -> Tensor:
        names = iter([NAS_BENCH_201_OPTIONS[option] for option in architecture])
        nodes = [tuple((next(names), source) for source in range(node)) for node in (1, 2, 3)]
        self.network.set_cal_mode("dynamic", self._structure(nodes))
        logits: Tensor = self.network(images)[1]
        return logits

    def darts(self, train: Rows, validation: Rows) -> None:
        self._train(self.mixture(train[0]), train[1])
        self._weights.zero_grad()
        self._alphas.zero_grad()
        functional.cross_entropy(self.mixture(validation[0]), validation[1]).backward()
        self._alphas.step()

    def single_path(self, train: Rows, architecture: Architecture) -> None:
        self._train(self.path(train[0], architecture), train[1])

    def _train(self, logits: Tensor, target: Tensor) -> None:
        self._weights.zero_grad()
        functional.cross_entropy(logits, target).backward()
        nn.utils.clip_grad_norm_(self.network.weights, CLIP)
        self._weights.step()

    def give_weights(self, ours: nn.Module) -> None:
        """Copy all weights into our supernet."""
        theirs: Any = self.network
        mine: Any = ours
        mine.stem.load_state_dict(theirs._stem.state_dict())
        for cell, given in zip(mine.cells, theirs._cells, strict=True):
            if isinstance(cell, NasBench201Cell):
                for name, edge in cell.edges.items():
                    source, target = name.split("_")
                    for operation, module in edge.items():  # type: ignore[operator]
                        index = NAS_BENCH_201_OPTIONS.index(operation)
                        if len(module.state_dict()):
                            module.load_state_dict(given.edges[f"{target}<-{source}"][index].op.state_dict())
            else:
                cell.body[0].load_state_dict(given.conv_a.op.state_dict())
                cell.body[1].load_state_dict(given.conv_b.op.state_dict())
                cell.shortcut.load_state_dict(given.downsample.state_dict())
        mine.norm.load_state_dict(theirs.lastact[0].state_dict())
        mine.head.load_state_dict(theirs.classifier.state_dict())


def _search_models(root: Path) -> Any:
    """Import the reference's search models without its packages, whose own imports need what is not installed."""
    folder = root / "xautodl" / "models" / "cell_searchs"
    if not (folder / "generic_model.py").is_file():
        sys.exit(f"--reference: {root} must be a checkout of D-X-Y/AutoDL-Projects, {folder} is missing")
    for name in ("xautodl", "xautodl.models", "xautodl.models.cell_searchs"):
        package = ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[name] = package
    found = ModuleType("models")
    for name in ("generic_model", "genotypes"):
        setattr(found, name, importlib.import_module(f"xautodl.models.cell_searchs.{name}"))
    return found


def seconds(step: Callable[[], None]) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


def speed(arguments: argparse.Namespace) -> dict[str, float]:
    """Return the figures of the section `speed`."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours = Ours(arguments.channels, arguments.cells)
    reference = Reference(arguments.reference, arguments.channels, arguments.cells)
    reference.give_weights(ours.network)

    def rows() -> Rows:
        images = torch.randn(arguments.batch, 3, arguments.side, arguments.side)
        return images, torch.randint(CLASSES, (arguments.batch,))

    train, validation = rows(), rows()
    difference = _difference(reference.mixture(train[0]), ours.mixture(train[0], ours.alphas))
    rng = np.random.default_rng(0)
    paths = [tuple(rng.integers(0, len(NAS_BENCH_201_OPTIONS), 6).tolist()) for _ in range(4 * arguments.turns)]
    for path in paths[:2]:
        difference = max(difference, _difference(reference.path(train[0], path), ours.path(train[0], path)))
    darts = list(
        _turns(
            arguments.turns + 1,
            lambda _: reference.darts(train, validation),
            lambda _: ours.darts(train, validation),
        )
    )[1:]  # the first warms up
    single = list(
        _turns(
            len(paths),
            lambda turn: reference.single_path(train, paths[turn]),
            lambda turn: ours.single_path(train, paths[turn]),
        )
    )
    theirs, mine = (sum(times) for times in zip(*single, strict=True))
    return {"darts": median(a / b for a, b in darts), "single_path": theirs / mine, "logits": difference}


def _turns(turns: int, reference: Callable[[int], None], ours: Callable[[int], None]) -> Iterator[tuple[float, float]]:
    for turn in range(turns):
        yield seconds(lambda turn=turn: reference(turn)), seconds(lambda turn=turn: ours(turn))  # type: ignore[misc]


def _difference(expected: Tensor, found: Tensor) -> float:
    return ((expected - found).abs().max() / expected.abs().max()).item()


SECTIONS: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {"speed": speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="a checkout of D-X-Y/AutoDL-Projects")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    figures = {name: SECTIONS[name](arguments) for name in arguments.only}
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))
        return
    table = Table("figure", "value")
    for section, found in figures.items():
        for name, value in found.items():
            table.add_row(f"{section}.{name}", f"{value:.3g}")
    Console().print(table)


if __name__ == "__main__":
    main()
