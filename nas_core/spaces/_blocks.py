"""The modules that networks of convolutional blocks are made of. N is the batch.

Everything takes the number of the task whose maps it gets: tasks share convolutions and have batch normalisations of
their own, because their statistics differ (Bilen and Vedaldi 2017, "Universal representations"). A network with one
task never says which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nas_core.spaces._block_plans import Block, Convolution, Squeeze

ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hardswish": nn.Hardswish, "silu": nn.SiLU}
POOLS: dict[str, list[Callable[..., Tensor]]] = {
    "mean": [torch.mean],
    "max": [torch.amax],
    "both": [torch.mean, torch.amax],
}


class Normalised(nn.Module):
    """A convolution, the task's batch normalisation, and an activation: (N, before, h, w) -> (N, after, h', w')."""

    def __init__(self, plan: Convolution, activation: str, tasks: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            plan.before,
            plan.after,
            plan.kernel,
            stride=plan.stride,
            padding=plan.kernel // 2,
            groups=plan.groups,
            bias=False,
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(plan.after) for _ in range(tasks))
        self.activation = ACTIVATIONS[activation]() if plan.active else nn.Identity()

    def forward(self, x: Tensor, task: int = 0) -> Tensor:
        y: Tensor = self.activation(self.norms[task](self.convolution(x)))
        return y


class SqueezeExcite(nn.Module):
    """Scales each channel by what the means of all of them say: (N, c, h, w) -> the same shape.

    By a hard sigmoid, which 8 bits can express (Howard et al. 2019).
    """

    def __init__(self, plan: Squeeze) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(plan.channels, plan.squeezed, 1)
        self.excite = nn.Conv2d(plan.squeezed, plan.channels, 1)

    def forward(self, x: Tensor, _task: int = 0) -> Tensor:
        means = x.mean((2, 3), keepdim=True)
        return x * nn.functional.hardsigmoid(self.excite(torch.relu(self.squeeze(means))))


class PlannedBlock(nn.Module):
    """The layers of a plan, its shortcut and its last activation."""

    def __init__(self, plan: Block, activation: str, tasks: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Normalised(layer, activation, tasks) if isinstance(layer, Convolution) else SqueezeExcite(layer)
            for layer in plan.layers
        )
        self.shortcut = plan.shortcut
        self.activation = ACTIVATIONS[activation]() if plan.active else nn.Identity()

    def forward(self, x: Tensor, task: int = 0) -> Tensor:
        y = x
        for layer in self.layers:
            y = layer(y, task)
        z: Tensor = self.activation(y + x if self.shortcut else y)
        return z


class Blocks(nn.ModuleList):
    """Blocks one after another: (N, c, h, w) -> (N, c', h', w')."""

    def __init__(self, plans: Sequence[Block], activation: str, tasks: int = 1) -> None:
        super().__init__(PlannedBlock(plan, activation, tasks) for plan in plans)

    def forward(self, x: Tensor, task: int = 0) -> Tensor:
        for block in self.children():
            x = block(x, task)
        return x


class Head(nn.Module):
    """Pools each channel, then dense layers, dropout and a linear classifier: (N, c, h, w) -> logits (N, classes).

    Two poolings side by side make twice as many features.
    """

    def __init__(
        self, channels: int, widths: Sequence[int], classes: int, *, pooling: str, activation: str, dropout: float
    ) -> None:
        super().__init__()
        self.pools = POOLS[pooling]
        before = channels * len(self.pools)
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(before, width), ACTIVATIONS[activation]()]
            before = width
        self.layers = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(before, classes))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(torch.cat([pool(x, dim=(2, 3)) for pool in self.pools], dim=1))
        return y


class Classifier(nn.Module):
    """Blocks and a head: an image (N, c, h, w) -> logits (N, classes)."""

    def __init__(self, blocks: Blocks, head: Head) -> None:
        super().__init__()
        self.blocks = blocks
        self.head = head

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(image))
        return logits


class MultiTaskClassifier(nn.Module):
    """A stem and a head per task around one trunk: an image per task -> logits (N, classes) per task."""

    def __init__(self, stems: Sequence[Blocks], trunk: Blocks, heads: Sequence[Head]) -> None:
        super().__init__()
        self.stems = nn.ModuleList(stems)
        self.trunk = trunk
        self.heads = nn.ModuleList(heads)

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        parts = zip(self.stems, self.heads, images, strict=True)
        return tuple(head(self.trunk(stem(image), task)) for task, (stem, head, image) in enumerate(parts))
