"""The modules that tabular networks are made of. N is the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas_core.types import Port

FREQUENCIES = 16
"""Frequencies of a numeric feature's periodic embedding."""

PERIODIC_DIM = 8
"""Length of a numeric feature's periodic embedding."""

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}
NORMALISATIONS = {"none": nn.Identity, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class Periodic(nn.Module):
    """Periodic embeddings of numeric features: float32 (N, k) -> (N, k * PERIODIC_DIM).

    ReLU(Linear(sin(2 pi c x), cos(2 pi c x))) with frequencies c of each feature's own, drawn from N(0, scale²), and
    one linear map for all features: PLR(lite) of Gorishniy et al. 2022, "On Embeddings for Numerical Features in
    Tabular Deep Learning", equations 2 and 4.
    """

    def __init__(self, features: int, scale: float) -> None:
        super().__init__()
        self.frequency = nn.Parameter(scale * torch.randn(features, FREQUENCIES))
        self.linear = nn.Linear(2 * FREQUENCIES, PERIODIC_DIM)

    def forward(self, x: Tensor) -> Tensor:
        phase = 2 * math.pi * self.frequency * x.unsqueeze(-1)
        return torch.relu(self.linear(torch.cat([phase.sin(), phase.cos()], dim=-1))).flatten(1)


class Embedding(nn.Embedding):
    """A vector per category, int64 (N,) -> (N, dim), with category 0 (unknown) at the origin until it is trained."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__(classes, dim)
        nn.init.uniform_(self.weight, -(dim**-0.5), dim**-0.5)
        with torch.no_grad():
            self.weight[0].zero_()


class Features(nn.Module):
    """All ports side by side, in order: one tensor per port -> (N, width)."""

    def __init__(self, ports: Sequence[Port], embedding_dim: int, frequency_scale: float | None) -> None:
        super().__init__()
        self.ports = nn.ModuleList()
        self.width = 0
        for port in ports:
            if port.dtype == "int64":
                self.ports.append(Embedding(port.classes, embedding_dim))
                self.width += embedding_dim
            elif frequency_scale is None:
                self.ports.append(nn.Identity())
                self.width += port.shape[0]
            else:
                self.ports.append(Periodic(port.shape[0], frequency_scale))
                self.width += port.shape[0] * PERIODIC_DIM

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat([port(x) for port, x in zip(self.ports, inputs, strict=True)], dim=1)


class Layer(nn.Module):
    """Linear, normalisation, activation, dropout; (N, before) -> (N, after), plus a shortcut if `residual`.

    The shortcut is the identity where the widths agree, a projection without bias where they differ.
    """

    def __init__(
        self, before: int, after: int, *, activation: str, normalisation: str, dropout: float, residual: bool
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(before, after),
            NORMALISATIONS[normalisation](after),
            ACTIVATIONS[activation](),
            nn.Dropout(dropout),
        )
        self.shortcut: nn.Module | None = None
        if residual:
            self.shortcut = nn.Identity() if before == after else nn.Linear(before, after, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y if self.shortcut is None else y + self.shortcut(x)


class Network(nn.Module):
    """Features, layers one after another, and a linear head: one tensor per port -> logits (N, classes)."""

    def __init__(self, features: Features, layers: Sequence[Layer], width: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(width, classes)

    def forward(self, *inputs: Tensor) -> Tensor:
        y: Tensor = self.head(self.layers(self.features(*inputs)))
        return y
