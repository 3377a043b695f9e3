"""Cross networks for tables (Wang et al. 2021, "DCN V2") as a search space: decisions, and a `build`."""

import torch
from torch import Tensor, nn

from nas_core import Architecture, Decision, Signature


class CrossNetwork:
    """Products of columns: x <- x0 * (W x + b) + x, as many times as the architecture says."""

    decisions = (
        Decision(name="crosses", options=("1", "2", "3", "4"), attributes=((1.0,), (2.0,), (3.0,), (4.0,))),
        Decision(name="embedding_dim", options=("4", "8"), attributes=((4.0,), (8.0,))),
    )

    def __init__(self, signature: Signature) -> None:
        self.signature = signature

    def build(self, architecture: Architecture) -> nn.Module:
        crosses, dim = (int(d.options[i]) for d, i in zip(self.decisions, architecture, strict=True))
        return Network(self.signature, crosses, dim)


class Network(nn.Module):
    def __init__(self, signature: Signature, crosses: int, dim: int) -> None:
        super().__init__()
        ports = signature.inputs
        self.columns = nn.ModuleList(nn.Embedding(p.classes, dim) if p.classes else nn.Identity() for p in ports)
        width = sum(dim if port.classes else port.shape[0] for port in ports)
        self.crosses = nn.ModuleList(nn.Linear(width, width) for _ in range(crosses))
        self.head = nn.Linear(width, signature.outputs[0].shape[0])

    def forward(self, *inputs: Tensor) -> Tensor:
        x = first = torch.cat([column(value) for column, value in zip(self.columns, inputs, strict=True)], dim=1)
        for cross in self.crosses:
            x = first * cross(x) + x
        return self.head(x)
