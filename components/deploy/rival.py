"""What the challenger is compared with: the champion, or where there is none, what knows the classes' shares only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.bundle import open_model
from components.champion import bundle_folder
from components.prepared import Prepared
from nas_core.errors import InputError


@dataclass(frozen=True)
class Rival:
    """Who it is, and its probabilities of the current test rows, float32 (rows, classes).

    `champion` is the incumbent's digest, if there is one, and `reason` says why it cannot be the rival, if so.
    """

    probabilities: np.ndarray
    champion: str | None = None
    reason: str = ""

    @property
    def is_champion(self) -> bool:
        """Whether the challenger meets the champion."""
        return self.champion is not None and not self.reason

    @property
    def name(self) -> str:
        """Who it is, for people."""
        return (
            f"the champion {self.champion[:12]}" if self.champion and not self.reason else "the classes' shares alone"
        )


def find_rival(prepared: Prepared, champions: Path, champion: str | None) -> Rival:
    """Return the champion on the current test rows, raw and through its own encoder.

    A champion that cannot answer for the current rows (a column is gone, the classes are others) serves nobody any
    more; then the rival is the same as without a champion, and `reason` says so.
    """
    shares = class_shares(prepared)
    if champion is None:
        return Rival(shares)
    model = open_model(bundle_folder(champions, champion), champion)
    if set(model.classes) != set(prepared.classes):
        return Rival(shares, champion, f"it predicts {', '.join(model.classes)}, not {', '.join(prepared.classes)}")
    try:
        probabilities = model.predict(model.encoder.raw(prepared.frame("test")))
    except (InputError, TypeError, ValueError) as error:
        return Rival(shares, champion, f"it cannot read the current rows: {error}")
    order = [model.classes.index(name) for name in prepared.classes]
    return Rival(probabilities[:, order], champion)


def class_shares(prepared: Prepared) -> np.ndarray:
    """Return the shares of the classes in training, for every test row: always the majority class."""
    _, train = prepared.arrays("train")
    shares = np.bincount(train, minlength=len(prepared.classes)) / len(train)
    return np.tile(shares.astype(np.float32), (len(prepared.arrays("test")[1]), 1))
