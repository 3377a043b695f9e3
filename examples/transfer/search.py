"""A cell searched on CIFAR-10, stacked deeper and trained on Fashion-MNIST; see README.md."""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch

from components.readers.npz import read_npz
from components.retrain.baseline import baseline
from components.sources import read
from components.spec_task import BuiltinSource
from nas_core import registry
from nas_core.errors import EvernasError, InputError
from nas_core.estimators.cost import cost
from nas_core.estimators.fitting import predict
from nas_core.interfaces import Task
from nas_core.objectives import best
from nas_core.searching import search
from nas_core.space import describe
from nas_core.types import Architecture, Budget, Objective, Port, Signature, Trial

ACCURACY = [Objective(metric="accuracy", goal="max")]
CPU = torch.device("cpu")
BATCH = 64
EXAMPLE = "example:  python examples/transfer/search.py --cifar cifar-10-binary.tar.gz --json result.json"
SPACES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nas-bench-201": ({"channels": 8, "cells": 1}, {"channels": 8, "cells": 3}),
    "darts": ({"channels": 4, "cells": 3}, {"channels": 8, "cells": 8}),
}
"""How cells are stacked while they are searched, and to be retrained."""


class Preset(NamedTuple):
    """How much is spent: images to search with, trials, epochs a trial; images, epochs and seeds to retrain with."""

    searched: int
    trials: int
    epochs: int
    retrained: int
    final_epochs: int
    seeds: int


PRESETS = {"full": Preset(2000, 12, 3, 6000, 8, 2), "small": Preset(80, 2, 1, 200, 1, 1)}

Images = tuple[np.ndarray, np.ndarray]
"""uint8 (rows, channels, height, width), and the index of each one's class, int64 (rows,)."""


def cifar(path: Path) -> Images:
    """Read CIFAR-10's training images: the published binary version, or an npz file that evernas can read."""
    if path.suffix == ".npz":
        frame = read_npz(path, rate=None)
        if "image" not in frame:
            raise InputError(f"--cifar: {path} holds no images but {', '.join(frame)}; README.md says what it must be")
        return decoded(frame["image"]), indices(frame.drop(columns="image").iloc[:, 0])
    try:
        with tarfile.open(path) as archive:
            files = [archive.extractfile(member) for member in archive if "data_batch" in member.name]
            rows = np.concatenate([np.frombuffer(file.read(), np.uint8) for file in files if file]).reshape(-1, 3073)
    except (OSError, tarfile.TarError, ValueError) as error:
        raise InputError(
            f"--cifar: {path} is not cifar-10-binary.tar.gz ({error}); README.md says where it is"
        ) from error
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)


def fashion() -> dict[str, Images]:
    """Return the part of Fashion-MNIST that evernas ships: `train` and `test`."""
    frame = read(BuiltinSource(kind="builtin", name="fashion-mnist"), Path())
    images, classes = decoded(frame["image"]), indices(frame["label"])
    return {part: (images[rows], classes[rows]) for part in ("train", "test") if (rows := frame["split"] == part).any()}


def decoded(files: Sequence[bytes]) -> np.ndarray:
    """Return encoded images of one size as uint8 (rows, channels, height, width)."""
    pixels = np.stack([np.asarray(PIL.Image.open(io.BytesIO(file))) for file in files])
    return np.ascontiguousarray(np.moveaxis(pixels.reshape(*pixels.shape[:3], -1), 3, 1))


def indices(labels: Any) -> np.ndarray:
    return np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int64)


def divided(images: Images, rows: int) -> dict[str, Images]:
    """Return `rows` of the images, drawn at random, as `train` and, a fifth of them, `validation`."""
    order = np.random.default_rng(0).permutation(len(images[1]))[:rows]
    parts = {"validation": order[: rows // 5], "train": order[rows // 5 :]}
    return {part: (images[0][index], images[1][index]) for part, index in parts.items()}


def image_task(splits: dict[str, Images], shift: float) -> Task:
    """Return the task of classifying these images, standardised per channel by the training images.

    While they are trained on, images are mirrored, and moved by up to `shift` of their size.
    """
    pixels, classes = splits["train"]
    mean, deviation = pixels.mean((0, 2, 3), keepdims=True), pixels.std((0, 2, 3), keepdims=True)
    count = int(classes.max()) + 1
    signature = Signature(
        inputs=(Port(name="image", shape=pixels.shape[1:]),),
        outputs=(Port(name="class", shape=(count,), classes=count),),
    )
    arrays = {part: ((((x - mean) / deviation).astype(np.float32),), y) for part, (x, y) in splits.items()}
    task: Task = registry.load("tasks", "image")(signature, arrays, shift=shift, flip=True)
    return task


def find(task: Task, space_name: str, strategy: str, preset: Preset, seed: int) -> tuple[Architecture, dict[str, Any]]:
    """Return the cell that is best on `task` when stacked a little, and what was measured."""
    space = registry.load("spaces", space_name)(task.signature, **SPACES[space_name][0])
    start = time.perf_counter()
    study = search(
        space,
        registry.load("strategies", strategy)(space, ACCURACY, seed),
        registry.load("estimators", "training")(space, task, seed, epochs=preset.epochs, batch_size=BATCH),
        ACCURACY,
        Budget(trials=preset.trials),
        on_trial=lambda trial: say(line(trial)),
    )
    winner = best(study.history, ACCURACY)
    if winner is None or winner.metrics is None:
        raise InputError(f"--strategy: none of {len(study.history)} trials succeeded; their errors are above")
    found = {
        "validation": winner.metrics["accuracy"],
        "params": winner.metrics["params"],
        "seconds": time.perf_counter() - start,
        "cell": describe(space, winner.architecture),
    }
    return winner.architecture, found


def retrain(task: Task, space_name: str, architecture: Architecture, preset: Preset, seed: int) -> dict[str, Any]:
    """Train the cell on `task`, stacked deeper and wider, with several seeds, and test it."""
    space = registry.load("spaces", space_name)(task.signature, **SPACES[space_name][1])
    accuracies = []
    start = time.perf_counter()
    for each in range(seed, seed + preset.seeds):
        training = registry.load("estimators", "training")
        estimator = training(space, task, each, epochs=preset.final_epochs, batch_size=BATCH)
        network, _ = estimator.train(architecture)
        accuracies.append(task.metrics(*predict(network, task, "test", CPU))["accuracy"])
        say(f"seed {each}: {accuracies[-1]:.4f} of the test images are recognised")
    return {"test": accuracies, **cost(network, task, "train"), "seconds": time.perf_counter() - start}


def baseline_rows(splits: dict[str, Images]) -> list[Any]:
    """Return what a baseline is trained on, all images that the network was trained or chosen on, and the test."""
    images, classes = (np.concatenate([splits[part][i] for part in ("train", "validation")]) for i in (0, 1))
    return [((images,), classes), ((splits["test"][0],), splits["test"][1])]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    preset = PRESETS[options.preset]
    source = image_task(divided(cifar(options.cifar), preset.searched), shift=0.125)
    clothes = fashion()
    target = {**divided(clothes["train"], preset.retrained), "test": clothes["test"]}
    say(f"search: {preset.trials} cells of {options.space} on CIFAR-10")
    architecture, searched = find(source, options.space, options.strategy, preset, options.seed)
    say(f"retrain: {searched['cell']}, stacked deeper, on Fashion-MNIST")
    task = image_task(target, shift=0.0)  # clothes are in the middle
    retrained = retrain(task, options.space, architecture, preset, options.seed)
    plain = baseline("image", task.signature, *baseline_rows(target), options.seed)
    say(f"a {plain.name}: {plain.test_accuracy:.4f}")
    result = {"searched": searched, "retrained": retrained, "baseline": plain._asdict()}
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition(";")[0], epilog=EXAMPLE)
    made.add_argument("--cifar", type=Path, required=True, help="CIFAR-10, binary version; README.md says where it is")
    made.add_argument("--preset", choices=PRESETS, default="full", help="how much to spend (default: full)")
    made.add_argument("--space", choices=SPACES, default="nas-bench-201", help="which cells (default: nas-bench-201)")
    made.add_argument("--strategy", default="bayesian", help="one of `evernas list strategies` (default: bayesian)")
    made.add_argument("--seed", type=int, default=0, help="the same seed gives the same search (default: 0)")
    made.add_argument("--json", type=Path, help="write the result to this file")
    return made


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def line(trial: Trial) -> str:
    if not trial.metrics:
        return f"{trial.number:4}  {trial.error or trial.status}"
    return f"{trial.number:4}  {trial.metrics['accuracy']:.3f}  {trial.metrics['params']:6.0f} parameters"


if __name__ == "__main__":
    try:
        main()
    except EvernasError as error:
        raise SystemExit(f"error: {error}") from error
