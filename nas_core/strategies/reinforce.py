"""REINFORCE (Zoph and Le 2017, "Neural Architecture Search with Reinforcement Learning")."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace
from nas_core.objectives import Key, key
from nas_core.strategies._controller import Adam, Choice, Controller
from nas_core.strategies._drawing import TRIES, Draw, Drawing
from nas_core.strategies._finished import finished
from nas_core.types import Architecture, Objective, Proposal, Trial


class Lesson(NamedTuple):
    """What the controller learns from: an architecture, how good it was, and whether an earlier cycle tried it."""

    architecture: Architecture
    outcome: Key
    earlier: bool


class Reinforce(Drawing):
    """REINFORCE: an LSTM emits one decision after another and learns from what came of it (Zoph and Le 2017).

    Each step takes in the choice before and draws from a softmax over the options of the next active decision. Every
    ok trial, in the order in which they finished, is one step of Adam up the gradient of its reward, less a moving
    average of rewards, times its log-probability, plus `entropy` times the entropy of its choices.

    The reward is the trial's place among all that finished until then, by constrained domination, ties by the
    objectives in order: the normal quantile of the share that it beats. So no scale has to be known beforehand, and
    what breaks a limit gets least. Trials that are not ok teach nothing. Those of an earlier cycle are learned first,
    as if the controller had drawn them, each in its place among themselves.

    In the paper a controller may repeat itself. Here a draw that is known is drawn again, each time with a larger share
    of chance in every choice, so that a controller that is sure of itself looks around its favourite. The paper's
    learning rate, 0.0006, is for its 12,800 trials; the default here is for some hundreds.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        seed: int,
        *,
        hidden: int = 64,
        learning_rate: float = 0.01,
        entropy: float = 0.01,
        baseline_decay: float = 0.9,
    ) -> None:
        super().__init__(space, objectives, seed)
        for option, given, holds, rule in (
            ("hidden", hidden, hidden >= 1, ">= 1"),
            ("learning_rate", learning_rate, learning_rate > 0, "> 0"),
            ("entropy", entropy, entropy >= 0, ">= 0"),
            ("baseline_decay", baseline_decay, 0 <= baseline_decay < 1, "from 0 to below 1"),
        ):
            if not holds:
                raise InputError(f"{option}: must be {rule}, got {given:g}")
        self._first = partial(
            _Policy, space, seed, hidden=hidden, learning_rate=learning_rate, entropy=entropy, decay=baseline_decay
        )
        self._policy = self._first()

    def _drawing(self, history: Sequence[Trial], rng: np.random.Generator) -> Draw:
        policy = self._taught(finished(history))
        draws: Counter[int] = Counter()

        def draw(made: int) -> Proposal:
            chance = draws[made] / TRIES
            draws[made] += 1
            why = (("lessons", float(len(policy.lessons))), ("chance", chance))
            return Proposal(architecture=policy.emit(rng, chance), why=why)

        return draw

    def _taught(self, done: Sequence[Trial]) -> _Policy:
        """Return the policy after `done`: the one at hand if that has learned the first of it, else a new one."""
        lessons = [
            Lesson(trial.architecture, key(trial.metrics or {}, self._objectives), bool(trial.origin)) for trial in done
        ]
        if self._policy.lessons != lessons[: len(self._policy.lessons)]:
            self._policy = self._first()
        for lesson in lessons[len(self._policy.lessons) :]:
            self._policy.learn(lesson)
        return self._policy


class _Policy:
    """A controller, and the state of its lessons."""

    def __init__(
        self, space: SearchSpace, seed: int, *, hidden: int, learning_rate: float, entropy: float, decay: float
    ) -> None:
        self.lessons: list[Lesson] = []
        self._space = space
        self._entropy = entropy
        self._decay = decay
        options = [len(decision.options) for decision in space.decisions]
        # A child of the seed: the seed alone is the generator of the first proposals.
        (weights,) = np.random.SeedSequence(seed).spawn(1)
        self._controller = Controller(options, hidden, np.random.default_rng(weights))
        self._adam = Adam(self._controller.weights, learning_rate)
        self._outcomes: list[Key] = []
        self._baseline = 0.0

    def learn(self, lesson: Lesson) -> None:
        """Take one step up the gradient of the reward."""
        if self.lessons and self.lessons[-1].earlier and not lesson.earlier:
            self._outcomes, self._baseline = [], 0.0
        self.lessons.append(lesson)
        reward = self._reward(lesson.outcome)
        on = algebra.active(self._space, lesson.architecture)
        choices = [(place, option) for place, option in enumerate(lesson.architecture) if on[place]]
        if choices:
            self._adam.ascend(self._controller.gradient(choices, reward - self._baseline, self._entropy))
        self._baseline = self._decay * self._baseline + (1 - self._decay) * reward

    def _reward(self, outcome: Key) -> float:
        """Return the normal quantile of the share of outcomes so far that this one beats, equal ones half."""
        insort(self._outcomes, outcome)
        better, equal_or_better = bisect_left(self._outcomes, outcome), bisect_right(self._outcomes, outcome)
        return float(ndtri(1 - (better + equal_or_better) / 2 / len(self._outcomes)))

    def emit(self, rng: np.random.Generator, chance: float) -> Architecture:
        """Draw an architecture; each choice is uniform with probability `chance`, and always within the space's limits.

        Options in the order of their probabilities over exponential noise are draws without replacement.
        """
        decisions = self._space.decisions
        values = [0] * len(decisions)
        before: Choice | None = None
        state = self._controller.start()
        for place, decision in enumerate(decisions):
            if decision.active_if and not algebra.active(self._space, tuple(values))[place]:
                continue
            log_p, state = self._controller.step(before, place, state)
            p = (1 - chance) * np.exp(log_p) + chance / len(log_p)
            for option in np.argsort(-p / rng.exponential(size=len(p))).tolist():
                values[place] = option
                if algebra.admits(self._space, tuple(values)):
                    break
            before = (place, values[place])
        return tuple(values)
