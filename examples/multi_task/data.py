"""Clothes as images and spoken digits as spectrograms, each in three splits."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from nas_core.errors import InputError
from nas_core.spaces._log_mel import LogMel
from nas_core.types import Port

CLASSES = 10
SAMPLES = 4864
"""Length of a clip: 0.6 seconds at 8 kHz, about what a digit takes, and 37 frames of 256 samples."""


class Data(NamedTuple):
    """One task: its name, and per split images float32 (rows, 1, height, width) and classes int64 (rows,)."""

    name: str
    splits: dict[str, tuple[np.ndarray, np.ndarray]]

    @property
    def image(self) -> Port:
        return Port(name=f"{self.name}_image", shape=self.splits["train"][0].shape[1:])

    @property
    def answer(self) -> Port:
        return Port(name=self.name, shape=(CLASSES,), classes=CLASSES)

    def rows(self, split: str) -> int:
        return len(self.splits[split][1])


def fashion(path: Path, rows: int) -> Data:
    """Read Fashion-MNIST: `rows` of the training rows, half as many other ones for validation, all test rows."""
    file = _arrays(path, ("x_train", "y_train", "x_test", "y_test"))
    order = np.random.default_rng(0).permutation(len(file["y_train"]))
    train, validation = order[:rows], order[rows : rows * 3 // 2]
    return Data(
        "fashion",
        _scaled(
            {
                "train": (file["x_train"][train], file["y_train"][train]),
                "validation": (file["x_train"][validation], file["y_train"][validation]),
                "test": (file["x_test"], file["y_test"]),
            }
        ),
    )


def digits(path: Path) -> Data:
    """Read clips of the Free Spoken Digit Dataset as log-mel spectrograms of 32 bands.

    Of each speaker's and digit's recordings the first fifth is for the test and the next one for validation.
    """
    file = _arrays(path, ("wave", "offsets", "label", "speaker"))
    clips = np.zeros((len(file["label"]), SAMPLES), np.float32)
    for clip, start, end in zip(clips, file["offsets"], file["offsets"][1:], strict=False):
        wave = file["wave"][start:end][:SAMPLES]
        clip[: len(wave)] = wave / 2**15
    images = LogMel(rate=8000, bands=32, window=256, hop=128)(torch.from_numpy(clips)).numpy()
    share = _places(file["speaker"], file["label"])
    chosen = {"test": share < 0.2, "validation": (share >= 0.2) & (share < 0.4), "train": share >= 0.4}
    return Data("digit", _scaled({split: (images[rows], file["label"][rows]) for split, rows in chosen.items()}))


def _places(speakers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each clip's place in the series of its speaker and digit, from 0 to less than 1."""
    share = np.zeros(len(labels))
    for speaker in np.unique(speakers):
        for label in np.unique(labels):
            (series,) = np.nonzero((speakers == speaker) & (labels == label))
            share[series] = np.arange(len(series)) / len(series)
    return share


def _scaled(splits: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images with mean 0 and deviation 1 over the training rows, and one channel; classes as int64."""
    mean, deviation = splits["train"][0].mean(), splits["train"][0].std()
    return {
        split: (((images - mean) / deviation).astype(np.float32)[:, None], labels.astype(np.int64))
        for split, (images, labels) in splits.items()
    }


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: must be an npz file with {', '.join(names)}; README.md says how to make it"
        ) from error
