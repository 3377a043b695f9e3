"""NAS-Bench-201's cell with many operations an edge, computed together. N is the batch.

Most of a supernet's time goes into many small passes over the same map. So what leaves a node is computed as one: its
rectified map once, all convolutions of one size as one convolution with their weights side by side, pooling once. The
weight of a convolution's edge is a factor of the batch normalisation behind it, which costs no pass at all. All maps
have their channels last in memory, and parts are taken by `split`: a gradient in another layout makes the backward pass
of batch normalisation many times slower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_POOL, _SKIP = "avg_pool_3x3", "skip_connect"


class Leaving(NamedTuple):
    """An operation that leaves a node, the nodes that it leads to, and what it counts there (targets,); None: 1."""

    name: str
    targets: tuple[int, ...]
    weight: Tensor | None


Plan = Sequence[tuple[int, Sequence[Leaving]]]
"""Per node what leaves it, the nodes in order."""


def cell(edges: nn.ModuleDict, x: Tensor, plan: Plan, output: int) -> Tensor:
    """Return the map of node `output`, of x (N, c, h, w) at node 0; `edges` are those of `nas_core.spaces._cells`."""
    terms: dict[int, list[Tensor]] = {0: [x]}
    weighted: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for source, leaving in plan:
        here = _node(terms.get(source, []), weighted.get(source, []))
        rectified: Tensor | None = None
        for name, targets, weight in leaving:
            if name in {_POOL, _SKIP}:
                there = _pooled(here) if name == _POOL else here
                for i, target in enumerate(targets):
                    if weight is None:
                        terms.setdefault(target, []).append(there)
                    else:
                        weighted.setdefault(target, []).append((there, weight[i]))
                continue
            rectified = torch.relu(here) if rectified is None else rectified
            blocks = [cast(Mapping[str, Any], edges[f"{source}_{target}"])[name] for target in targets]
            for target, term in zip(targets, _convolved(blocks, rectified, weight), strict=True):
                terms.setdefault(target, []).append(term)
    if output not in terms and output not in weighted:
        return x * 0  # multiplied, not made: what lies before has a gradient, of zero
    return _node(terms.get(output, []), weighted.get(output, []))


def _node(terms: Sequence[Tensor], weighted: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    if not weighted and len(terms) == 1:
        return terms[0]
    parts = [*terms, *(term for term, _ in weighted), *(weight for _, weight in weighted)]
    summed: Tensor = _Sum.apply(len(terms), *parts)  # type: ignore[no-untyped-call]  # torch declares it so
    return summed


def _pooled(x: Tensor) -> Tensor:
    pooled: Tensor = _Pool.apply(x)  # type: ignore[no-untyped-call]  # torch declares it so
    return pooled


def _convolved(blocks: Sequence[nn.Sequential], x: Tensor, weight: Tensor | None) -> Sequence[Tensor]:
    """Return the maps of several blocks (ReLU, convolution, normalisation) of one size, of their rectified input x."""
    convolutions = [cast(nn.Conv2d, block[1]) for block in blocks]
    norms = [cast(nn.BatchNorm2d, block[2]) for block in blocks]
    y = functional.conv2d(x, _joined([c.weight for c in convolutions]), padding=convolutions[0].padding)
    scale, shift = _joined([n.weight for n in norms]), _joined([n.bias for n in norms])
    if weight is not None:
        channels = weight.repeat_interleave(len(scale) // len(weight))
        scale, shift = scale * channels, shift * channels
    mean, variance = (_joined([cast(Tensor, getattr(n, name)) for n in norms]) for name in _STATISTICS)
    training = norms[0].training
    y = functional.batch_norm(y, mean, variance, scale, shift, training, norms[0].momentum or 0.0, norms[0].eps)
    if len(blocks) == 1:
        _count(norms, training)
        return [y]
    if training:
        _store(norms, mean, variance)
    _count(norms, training)
    return torch.split(y, y.shape[1] // len(blocks), dim=1)


_STATISTICS = ("running_mean", "running_var")


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _store(norms: Sequence[nn.BatchNorm2d], *statistics: Tensor) -> None:
    for name, values in zip(_STATISTICS, statistics, strict=True):
        for norm, part in zip(norms, values.chunk(len(norms)), strict=True):
            cast(Tensor, getattr(norm, name)).copy_(part)


def _count(norms: Sequence[nn.BatchNorm2d], training: bool) -> None:
    for norm in norms if training else ():
        cast(Tensor, norm.num_batches_tracked).add_(1)


class _Sum(torch.autograd.Function):
    """The sum of plain and of weighted terms, without a map for each product."""

    @staticmethod
    def forward(ctx: Any, plain: int, *parts: Tensor) -> Tensor:
        terms, weighted, weights = _apart(plain, parts)
        ctx.plain = plain
        ctx.save_for_backward(*weighted, *weights)
        y = terms[0] + terms[1] if len(terms) > 1 else (terms[0].clone() if terms else weighted[0] * weights[0])
        for term in terms[2:]:
            y += term
        for term, weight in zip(weighted[0 if terms else 1 :], weights[0 if terms else 1 :], strict=True):
            y.addcmul_(term, weight)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        saved = ctx.saved_tensors
        weighted, weights = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        needed = ctx.needs_input_grad[1 + ctx.plain :]
        to_terms = [
            gradient * weight if need else None for weight, need in zip(weights, needed[: len(weights)], strict=True)
        ]
        to_weights = [
            _dot(gradient, term) if need else None for term, need in zip(weighted, needed[len(weights) :], strict=True)
        ]
        return None, *[gradient] * ctx.plain, *to_terms, *to_weights


def _apart(plain: int, parts: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    middle = plain + (len(parts) - plain) // 2
    return parts[:plain], parts[plain:middle], parts[middle:]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of products of two maps; where both have their channels last this is one pass."""
    return torch.dot(a.permute(0, 2, 3, 1).reshape(-1), b.permute(0, 2, 3, 1).reshape(-1))


class _Pool(torch.autograd.Function):
    """Average pooling, 3 x 3 with what is outside not counted, as torch's but several times faster on a CPU.

    The sum over a neighbourhood is its own adjoint, so that both passes are one depthwise convolution.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.share = 1 / (_inside(x, 2)[:, None] * _inside(x, 3))
        return _summed(x).mul_(ctx.share)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0] * ctx.share)


def _inside(x: Tensor, axis: int) -> Tensor:
    """Return for each place along `axis` how many of its three neighbours, itself included, there are."""
    count = x.new_full((x.shape[axis],), 3)
    count[0] -= 1
    count[-1] -= 1
    return count


def _summed(x: Tensor) -> Tensor:
    channels = x.shape[1]
    return functional.conv2d(x, x.new_ones(channels, 1, 3, 3), padding=1, groups=channels)
