from __future__ import annotations

import numpy as np
import torch
from torch import nn

from nas_core.estimators.cost import cost
from nas_core.tasks.tabular import Tabular
from nas_core.types import Port, Signature


def test_a_linear_layer_costs_a_multiplication_a_weight() -> None:
    signature = Signature(inputs=(Port(name="numeric", shape=(10,)),), outputs=(Port(name="y", shape=(3,), classes=3),))
    task = Tabular(signature, {"train": ((np.zeros((5, 10), np.float32),), np.zeros(5, np.int64))})
    module = nn.Sequential(nn.Linear(10, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert cost(module, task, "train") == {"params": 77 + 14 + 24, "macs": 91}
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
