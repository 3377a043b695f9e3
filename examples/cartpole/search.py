"""Search for a small policy network that balances a pole; see README.md beside this file.

The estimator below is all that is particular to reinforcement learning: it trains a policy by REINFORCE and returns
its mean reward as a metric. Space, strategies, limits, record and runner are those of any other search.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from nas_core import registry
from nas_core.errors import EvernasError
from nas_core.interfaces import SearchSpace, Session
from nas_core.objectives import best, pareto_front
from nas_core.searching import search
from nas_core.space import describe
from nas_core.types import Architecture, Budget, Metrics, Objective, Port, Signature, Trial

SIGNATURE = Signature(
    inputs=(Port(name="observation", shape=(4,)),), outputs=(Port(name="action", shape=(2,), classes=2),)
)
LONGEST, SOLVED = 500.0, 195.0
"""How long an episode can be, and the mean reward from which on the task counts as solved."""

OBJECTIVES = (
    Objective(metric="reward", goal="max", limit=SOLVED),
    Objective(metric="params", goal="min"),
)
EXAMPLE = "example:  python examples/cartpole/search.py --trials 20 --json cartpole.json"


class Reinforce:
    """Trains a policy by REINFORCE (Williams 1992) and measures it by its mean reward, a step balanced being 1.

    Per update, `episodes` are played at once. The advantage of a step is its discounted return less the mean of all
    episodes that came as far. When all last to the end there is nothing left to learn. Afterwards the policy plays as
    many new episodes, the same for every policy, and takes the likelier action each time.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        *,
        updates: int = 40,
        episodes: int = 32,
        learning_rate: float = 0.05,
        discount: float = 0.99,
    ) -> None:
        self._space = space
        self._seed = seed
        self._updates = updates
        self._learning_rate = learning_rate
        self._discount = discount
        self._games = gymnasium.make_vec("CartPole-v1", num_envs=episodes, vectorization_mode="vector_entry_point")

    def estimate(self, trial: Trial, session: Session) -> Metrics:
        """Train for the share `trial.fidelity` of all updates; report the mean reward before each."""
        chance = self._chance(trial.architecture)
        policy = self._space.build(trial.architecture)
        optimiser = torch.optim.Adam(policy.parameters(), lr=self._learning_rate)
        params = float(sum(weights.numel() for weights in policy.parameters()))
        for update in range(1, max(1, round(trial.fidelity * self._updates)) + 1):
            observations, actions, alive = self._play(policy, int(chance.integers(2**31)), greedy=False)
            reward = float(alive.sum() / alive.shape[1])
            if session.report(update, {"reward": reward, "params": params}) or reward == LONGEST:
                break
            optimiser.zero_grad()
            chosen = policy(observations).log_softmax(-1).gather(-1, actions[:, None]).squeeze(-1)
            (-(chosen * self._advantages(alive)[alive]).mean()).backward()
            optimiser.step()
        *_, alive = self._play(policy, self._seed, greedy=True)
        return {"reward": float(alive.sum() / alive.shape[1]), "params": params}

    def _chance(self, architecture: Architecture) -> np.random.Generator:
        """Seed torch, and return a generator: both depend on the seed and the architecture alone."""
        chance = np.random.default_rng((self._seed, *architecture))
        torch.manual_seed(int(chance.integers(2**31)))
        return chance

    @torch.no_grad()
    def _play(self, policy: nn.Module, seed: int, *, greedy: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Play all episodes to their end; return what was seen (m, 4) and done (m,), and which were alive (steps, n).

        The m rows are the steps of episodes that were alive, in the order of `alive`.
        """
        seen, done, alive = [], [], [torch.ones(self._games.num_envs, dtype=torch.bool)]
        observation, _ = self._games.reset(seed=seed)
        while alive[-1].any():
            seen.append(torch.as_tensor(observation, dtype=torch.float32))
            chances = policy(seen[-1]).softmax(-1)
            done.append(chances.argmax(-1) if greedy else chances.multinomial(1).squeeze(-1))
            observation, _, fallen, timed_out, _ = self._games.step(done[-1].numpy())
            alive.append(alive[-1] & ~torch.as_tensor(fallen | timed_out))
        lived = torch.stack(alive[:-1])
        return torch.stack(seen)[lived], torch.stack(done)[lived], lived

    def _advantages(self, alive: Tensor) -> Tensor:
        """Return (steps, n): discounted returns of a reward of 1 a step, less the mean of those alive, scaled to 1."""
        returns = torch.zeros(alive.shape)
        following = torch.zeros(alive.shape[1])
        for step in reversed(range(len(alive))):
            following = returns[step] = alive[step] * (1 + self._discount * following)
        centred = (returns - returns.sum(1, keepdim=True) / alive.sum(1, keepdim=True)) * alive
        return centred / (centred[alive].std() + 1e-8)


def chain() -> SearchSpace:
    """Return policies of up to two dense layers; what a policy has no use for is fixed."""
    space: SearchSpace = registry.load("spaces", "chain")(
        SIGNATURE,
        max_depth=2,
        widths=(2, 4, 8, 16, 32),
        normalisations=("none",),
        dropouts=(0.0,),
        residual=(False,),
        numeric=("linear",),
    )
    return space


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    space = chain()
    strategy = registry.load("strategies", options.strategy)(space, OBJECTIVES, options.seed)
    estimator = Reinforce(space, options.seed, updates=options.updates)
    study = search(
        space,
        strategy,
        estimator,
        OBJECTIVES,
        Budget(trials=options.trials),
        folder=options.folder,
        on_trial=lambda trial: _say(_line(space, trial)),
    )
    trials = [trial for trial in study.history if trial.fidelity == 1.0]
    winner = best(trials, OBJECTIVES)
    front = sorted(pareto_front(trials, OBJECTIVES), key=lambda trial: (trial.metrics or {})["params"])
    _say(f"\nOf {len(study.history)} policies, no smaller one earns more than these:")
    _say("\n".join(_line(space, trial) for trial in front))
    if options.json:
        result = {
            "trials": len(study.history),
            "solved": winner is not None,
            "best": winner and _record(space, winner),
            "front": [_record(space, trial) for trial in front],
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if winner else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], epilog=EXAMPLE)
    parser.add_argument("--trials", type=int, default=20, help="how many policies to train (default: 20)")
    parser.add_argument("--updates", type=int, default=40, help="updates of a policy's weights (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same search (default: 0)")
    parser.add_argument("--strategy", default="bayesian", help="one of `evernas list strategies`")
    parser.add_argument("--folder", type=Path, help="keep the record here, and go on where an earlier call was stopped")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _record(space: SearchSpace, trial: Trial) -> dict[str, object]:
    return {"trial": trial.number, **(trial.metrics or {}), "decisions": describe(space, trial.architecture)}


def _line(space: SearchSpace, trial: Trial) -> str:
    choice = describe(space, trial.architecture)
    layers = " x ".join(width for name, width in choice.items() if name.startswith("width"))
    figures = trial.metrics or {}
    what = f"{layers:8} {choice['activation']:5}"
    if not figures:
        return f"{trial.number:4}  {what} {trial.error or trial.status}"
    return f"{trial.number:4}  {what} {figures['params']:5.0f} parameters  mean reward {figures['reward']:5.1f}"


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except EvernasError as error:
        raise SystemExit(f"error: {error}") from error
