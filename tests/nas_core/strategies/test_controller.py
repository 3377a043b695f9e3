"""The controller against torch: an LSTM of theirs with the same weights, autograd, and their Adam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nas_core.strategies._controller import Adam, Choice, Controller

HIDDEN = 5
OPTIONS = (3, 1, 4, 2)
FIRST = (0, 3, 4, 8, 10)
SOME = [(0, 2), (2, 1), (3, 0)]
ALL = [(0, 1), (1, 0), (2, 3), (3, 1)]
some_and_all = pytest.mark.parametrize("choices", [SOME[:1], SOME, ALL])


def controller(seed: int = 0) -> Controller:
    """A controller with weights that are large enough for every gate to matter."""
    made = Controller(OPTIONS, HIDDEN, np.random.default_rng(seed))
    for name in made.weights:
        made.weights[name] *= 10
    return made


def theirs(weights: dict[str, torch.Tensor], choices: list[Choice]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probability of `choices` and the sum of entropies, by torch's LSTM."""
    order = torch.cat([torch.arange(HIDDEN) + block * HIDDEN for block in (0, 1, 3, 2)])  # theirs: output gate last
    into, recurrence = torch.eye(4 * HIDDEN, dtype=torch.float64)[order], weights["recurrence"].T[order]
    state = (torch.zeros(1, HIDDEN, dtype=torch.float64),) * 2
    log_p = entropy = torch.zeros((), dtype=torch.float64)
    tokens = [FIRST[-1], *(FIRST[place] + option for place, option in choices)]
    for token, (place, option) in zip(tokens, choices, strict=False):
        state = torch.lstm_cell(weights["embedding"][token][None], state, into, recurrence)
        here = slice(FIRST[place], FIRST[place + 1])
        step = torch.log_softmax(state[0][0] @ weights["heads"][:, here] + weights["biases"][here], 0)
        log_p = log_p + step[option]
        entropy = entropy - (step.exp() * step).sum()
    return log_p, entropy


def leaves(made: Controller) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values.copy()).requires_grad_() for name, values in made.weights.items()}


@some_and_all
def test_steps_give_the_probabilities_of_an_lstm(choices: list[Choice]) -> None:
    made = controller()
    state, log_p = made.start(), 0.0
    for before, (place, option) in zip([None, *choices], choices, strict=False):
        step, state = made.step(before, place, state)
        assert step.shape == (OPTIONS[place],)
        assert np.exp(step).sum() == pytest.approx(1)
        log_p += float(step[option])
    assert log_p == pytest.approx(theirs(leaves(made), choices)[0].item())


@pytest.mark.parametrize(("reward", "entropy"), [(1.5, 0.0), (0.0, 1.0), (-0.7, 0.3)])
@some_and_all
def test_gradients_are_those_of_autograd(choices: list[Choice], reward: float, entropy: float) -> None:
    made = controller()
    weights = leaves(made)
    log_p, disorder = theirs(weights, choices)
    expected = torch.autograd.grad(reward * log_p + entropy * disorder, list(weights.values()))
    gradient = made.gradient(choices, reward, entropy)
    assert [*gradient] == [*weights]
    for name, theirs_of_it in zip(weights, expected, strict=True):
        np.testing.assert_allclose(gradient[name], theirs_of_it.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


def test_options_are_nearly_as_likely_at_first() -> None:
    made = Controller((4,), 64, np.random.default_rng(0))
    log_p, _ = made.step(None, 0, made.start())
    assert np.exp(log_p) == pytest.approx(0.25, abs=0.05)


def test_adam_is_adam() -> None:
    rng = np.random.default_rng(0)
    ours: dict[str, NDArray[np.float64]] = {"a": rng.normal(size=(3, 2)), "b": rng.normal(size=4)}
    parameters = {name: torch.nn.Parameter(torch.from_numpy(values.copy())) for name, values in ours.items()}
    adam, reference = Adam(ours, 0.03), torch.optim.Adam(parameters.values(), lr=0.03, maximize=True)
    for _ in range(5):
        slopes = {name: rng.normal(size=values.shape) for name, values in ours.items()}
        slopes["b"][0] = 0.0  # a choice that is never made
        for name, parameter in parameters.items():
            parameter.grad = torch.from_numpy(slopes[name])
        adam.ascend(slopes)
        reference.step()
    for name, parameter in parameters.items():
        np.testing.assert_allclose(ours[name], parameter.detach().numpy(), rtol=1e-10)
