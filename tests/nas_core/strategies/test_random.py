from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nas_core import space as algebra
from nas_core.strategies.random import Random
from nas_core.types import Architecture, Decision, Objective, Status, Trial

ACCURACY = [Objective(metric="accuracy", goal="max")]


@dataclass(frozen=True)
class Grid:
    decisions: tuple[Decision, ...] = tuple(Decision(name=f"place_{i}", options=tuple("abcde")) for i in range(6))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


def trial(number: int, accuracy: float) -> Trial:
    return Trial(number=number, architecture=(number, 0, 0, 0, 0, 0), status=Status.OK, metrics={"accuracy": accuracy})


def test_proposals_are_samples_of_the_generator_that_the_contract_names() -> None:
    history = [trial(0, 0.5), trial(1, 0.7)]
    rng = np.random.default_rng((9, 2))
    expected = [algebra.sample(Grid(), rng) for _ in range(3)]
    assert [p.architecture for p in Random(Grid(), ACCURACY, 9).propose(history, 3)] == expected


def test_what_trials_scored_makes_no_difference() -> None:
    strategy = Random(Grid(), ACCURACY, 0)
    assert strategy.propose([trial(0, 0.1)], 5) == strategy.propose([trial(0, 0.9)], 5)
