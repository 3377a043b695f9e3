"""The network of `reinforce`: an LSTM that emits one decision after another (Zoph and Le 2017, section 3.2).

In numpy, with its gradients by hand: at this size, a step of a torch module is all overhead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]

Choice = tuple[int, int]
"""A decision that is active, and the option that it takes."""

_SPREAD = 0.08
"""Weights are first uniform within this (Zoph and Le 2017, section 4.1): all options are nearly as likely."""


class State(NamedTuple):
    """Output and cell of the LSTM, (hidden,) each."""

    output: Array
    cell: Array


class Controller:
    """A policy over architectures: a step takes in the choice before, and gives out a softmax over options.

    `options` holds how many options each decision has. The weights, by name, are drawn by `rng`: what a choice adds to
    the LSTM's gates, (choices + 1, 4 * hidden), the last for the first step; what its last output adds to them; and
    from its output the logits of all options, those of one decision side by side.
    """

    def __init__(self, options: Sequence[int], hidden: int, rng: np.random.Generator) -> None:
        *first, total = accumulate(options, initial=0)
        self._first = first
        self._slices = [slice(start, start + n) for start, n in zip(first, options, strict=True)]
        self._hidden = hidden
        shapes = {
            "embedding": (total + 1, 4 * hidden),
            "recurrence": (hidden, 4 * hidden),
            "heads": (hidden, total),
            "biases": (total,),
        }
        self.weights = {name: rng.uniform(-_SPREAD, _SPREAD, shape) for name, shape in shapes.items()}

    def start(self) -> State:
        """Return the state before the first step."""
        return State(np.zeros(self._hidden), np.zeros(self._hidden))

    def step(self, before: Choice | None, place: int, state: State) -> tuple[Array, State]:
        """Return the log-probabilities (options,) of decision `place` after the choice `before`, and the new state."""
        state, _ = self._advance(self._token(before), state)
        return self._log_p(place, state), state

    def gradient(self, choices: Sequence[Choice], reward: float, entropy: float) -> dict[str, Array]:
        """Return d/dweights of `reward` times the log-probability of `choices` plus `entropy` times their entropy.

        `choices` are all of an architecture, in order; entropies of the steps add up. Equation 4 of Zoph and Le 2017.
        """
        tokens = [self._token(before) for before in (None, *choices[:-1])]
        states, gates = [self.start()], []
        for token in tokens:
            state, gate = self._advance(token, states[-1])
            states.append(state)
            gates.append(gate)
        grown = {name: np.zeros_like(values) for name, values in self.weights.items()}
        d_gates = np.zeros((len(choices), 4 * self._hidden))
        d_state = self.start()
        for t in reversed(range(len(choices))):
            place, option = choices[t]
            log_p = self._log_p(place, states[t + 1])
            p = np.exp(log_p)
            d_logits = -reward * p - entropy * p * (log_p - p @ log_p)
            d_logits[option] += reward
            here = self._slices[place]
            grown["heads"][:, here] = np.outer(states[t + 1].output, d_logits)
            grown["biases"][here] = d_logits
            d_output = d_state.output + self.weights["heads"][:, here] @ d_logits
            d_gates[t], d_cell = _back(gates[t], states[t], states[t + 1], State(d_output, d_state.cell))
            d_state = State(self.weights["recurrence"] @ d_gates[t], d_cell)
        grown["recurrence"] = np.stack([state.output for state in states[:-1]]).T @ d_gates
        grown["embedding"][tokens] = d_gates  # no choice comes twice
        return grown

    def _token(self, before: Choice | None) -> int:
        return -1 if before is None else self._first[before[0]] + before[1]

    def _advance(self, token: int, state: State) -> tuple[State, Array]:
        """Return the next state and the gates, (4, hidden): input, forget, output, and what is new."""
        sums = (self.weights["embedding"][token] + state.output @ self.weights["recurrence"]).reshape(4, -1)
        gates = np.concatenate([expit(sums[:3]), np.tanh(sums[3:])])
        into, keep, out, new = gates
        cell = keep * state.cell + into * new
        return State(out * np.tanh(cell), cell), gates

    def _log_p(self, place: int, state: State) -> Array:
        here = self._slices[place]
        logits = state.output @ self.weights["heads"][:, here] + self.weights["biases"][here]
        log_p: Array = logits - np.logaddexp.reduce(logits)
        return log_p


def _back(gates: Array, before: State, after: State, d_after: State) -> tuple[Array, Array]:
    """Return the gradients of the sums that enter the gates, (4 * hidden,), and of the cell before."""
    into, keep, out, new = gates
    squashed = np.tanh(after.cell)
    d_cell = d_after.cell + d_after.output * out * (1 - squashed**2)
    d_sums = [
        d_cell * new * into * (1 - into),
        d_cell * before.cell * keep * (1 - keep),
        d_after.output * squashed * out * (1 - out),
        d_cell * into * (1 - new**2),
    ]
    return np.concatenate(d_sums), d_cell * keep


class Adam:
    """Gradient ascent with momentum and a step size per weight (Kingma and Ba 2015, algorithm 1; their constants)."""

    def __init__(self, weights: dict[str, Array], learning_rate: float) -> None:
        self._weights = weights
        self._rate = learning_rate
        self._steps = 0
        self._mean = {name: np.zeros_like(values) for name, values in weights.items()}
        self._square = {name: np.zeros_like(values) for name, values in weights.items()}

    def ascend(self, gradient: dict[str, Array]) -> None:
        """Change the weights, in place."""
        self._steps += 1
        for name, slope in gradient.items():
            mean, square = self._mean[name], self._square[name]
            mean += 0.1 * (slope - mean)
            square += 0.001 * (slope * slope - square)
            scale = np.sqrt(square / (1 - 0.999**self._steps)) + 1e-8
            self._weights[name] += self._rate / (1 - 0.9**self._steps) * mean / scale
