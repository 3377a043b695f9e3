from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nas_core.estimators.fitting import Fitting, Recipe, mixed, predict, seeded
from nas_core.spaces.chain import Chain
from nas_core.tasks.tabular import Tabular

RECIPE = Recipe(epochs=2, batch_size=256, learning_rate=0.01, weight_decay=0.05, warmup=0.25)
CPU = torch.device("cpu")


@given(st.floats(0, 1), st.floats(0, 0.9))
def test_the_rate_is_never_above_the_highest_nor_below_0(progress: float, warmup: float) -> None:
    recipe = Recipe(epochs=1, batch_size=1, learning_rate=0.1, weight_decay=0, warmup=warmup)
    assert 0 <= recipe.rate(progress) <= 0.1


def test_the_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    rates = [RECIPE.rate(progress) for progress in (0, 0.125, 0.25, 0.625, 1)]
    assert rates == pytest.approx([0, 0.005, 0.01, 0.005, 0])


def test_predict_gives_all_rows_in_order_without_dropout_or_gradient(adult: Tabular, space: Chain) -> None:
    module = space.build((0,) * len(space.decisions))
    (outputs,), (targets,) = predict(module, adult, "validation", CPU)
    [(inputs, expected)] = adult.batches("validation", adult.rows("validation"))
    assert torch.equal(targets, expected[0])
    assert torch.allclose(outputs, module.eval()(*inputs), atol=1e-6)
    assert not outputs.requires_grad


def test_a_network_of_several_outputs_gives_each(adult: Tabular, space: Chain) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = space.build((0,) * len(space.decisions))

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.one(*inputs)
            return y, -y

    outputs, _ = predict(Twice(), adult, "validation", CPU)
    assert torch.equal(outputs[0], -outputs[1])


def test_weights_that_are_not_finite_after_the_last_step_are_noticed(adult: Tabular, space: Chain) -> None:
    recipe = Recipe(epochs=1, batch_size=10_000, learning_rate=1e38, weight_decay=1e6, warmup=0)
    with pytest.raises(FloatingPointError, match="not finite after epoch 1"):
        Fitting(space.build((0,) * len(space.decisions)), adult, recipe, 0).advance()


def test_seeded_restores_the_generator() -> None:
    before = torch.get_rng_state()
    with seeded(1, CPU):
        first = torch.rand(3)
    with seeded(1, CPU):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), before)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6))
def test_mixed_seeds_are_seeds_and_differ(parts: list[int]) -> None:
    seed = mixed(*parts)
    assert 0 <= seed < 2**63
    assert seed == mixed(*parts)
    assert seed != mixed(*parts[:-1], (parts[-1] + 1) % 2**32)
    np.random.default_rng((seed, 0))
