from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nas_core.estimators.cost import cost
from nas_core.tasks.tabular import Tabular
from nas_core.types import Port, Signature


def test_a_linear_layer_costs_a_multiplication_a_weight() -> None:
    signature = Signature(inputs=(Port(name="numeric", shape=(10,)),), outputs=(Port(name="y", shape=(3,), classes=3),))
    task = Tabular(signature, {"train": ((np.zeros((5, 10), np.float32),), np.zeros(5, np.int64))})
    module = nn.Sequential(nn.Linear(10, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert cost(module, task, "train") == {"params": 77 + 14 + 24, "macs": 91, "flops": 182}
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.GRU] | type[nn.LSTM]) -> None:
        super().__init__()
        self.layer = kind(4, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)[0]
        return y


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(x, x, x, attn_mask=torch.ones(5, 5, dtype=torch.bool))


@pytest.mark.parametrize(
    ("module", "macs"),
    [
        (Recurrent(nn.GRU), 5 * 3 * 6 * (4 + 6)),
        (Recurrent(nn.LSTM), 5 * 4 * 6 * (4 + 6)),
        (Attention(), 2 * 5 * 5 * 4),
    ],
)
def test_products_in_fused_kernels_are_counted(module: nn.Module, macs: int) -> None:
    """Five steps of four numbers."""

    class Steps:
        def batches(self, _split: str, size: int) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
            yield (torch.zeros(size, 5, 4),), ()

    assert cost(module, Steps(), "train")["macs"] == macs
