"""The modules that text networks are made of. N is the batch, L the length of a text, 0 the index of padding.

A mask, bool (N, L), is true at tokens. Tokens come first and padding after them, so what reads from the front never
sees padding; and the first place always counts as a token, so that even an empty text has one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas_core.spaces._recurrent import Direction

_EXPANSION = 2
"""How much wider than its block the hidden layer of a feed-forward layer is."""

_SPREAD = 0.1
"""Standard deviation of the first embeddings. Of 1, as torch has it, words by themselves say too much to learn more."""


class Convolution(nn.Module):
    """Convolution over neighbouring tokens and ReLU: (N, L, before) -> (N, L, after)."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(before, after, kernel, padding="same")

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return torch.relu(self.convolution((x * mask.unsqueeze(2)).transpose(1, 2))).transpose(1, 2)


class Recurrent(nn.Module):
    """A GRU or LSTM from front to back and one from back to front, side by side: (N, L, before) -> (N, L, after).

    The second one reads each text reversed, its last token first, rather than the padding behind it.
    """

    def __init__(self, cell: str, before: int, after: int) -> None:
        super().__init__()
        self.ahead = Direction(cell, before, after // 2)
        self.back = Direction(cell, before, after // 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        back = _reversed(self.back(_reversed(x, mask)), mask)
        return torch.cat([self.ahead(x), back], dim=2)


class Attention(nn.Module):
    """Self-attention between tokens at known positions: (N, L, before) -> (N, L, after).

    Multi-head scaled dot-product attention over inputs to which sinusoids of their positions are added, sections 3.2
    and 3.5 of Vaswani et al. 2017, "Attention Is All You Need".
    """

    def __init__(self, before: int, after: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries_keys_values = nn.Linear(before, 3 * after)
        self.out = nn.Linear(after, after)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + sinusoids(x.shape[1], x.shape[2], x)
        parts = self.queries_keys_values(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        y = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        z: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return z


class FeedForward(nn.Module):
    """Two dense layers, the same for every token: (N, L, width) -> (N, L, width); section 3.3 of the same paper."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, _EXPANSION * width), nn.ReLU(), nn.Linear(_EXPANSION * width, width)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002  a layer like the others
        y: Tensor = self.layers(x)
        return y


class Layer(nn.Module):
    """An operation, dropout, a shortcut, layer normalisation: (N, L, before) -> (N, L, after).

    The shortcut is the identity where the widths agree, a projection without bias where they differ.
    """

    def __init__(self, operation: nn.Module, before: int, after: int, dropout: float) -> None:
        super().__init__()
        self.operation = operation
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Identity() if before == after else nn.Linear(before, after, bias=False)
        self.normalisation = nn.LayerNorm(after)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y: Tensor = self.normalisation(self.shortcut(x) + self.dropout(self.operation(x, mask)))
        return y


class Block(nn.ModuleList):
    """Layers one after another: (N, L, before) -> (N, L, after)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for each in self:
            x = each(x, mask)
        return x


def layer(operation: str, before: int, after: int, detail: int, dropout: float) -> nn.Module:
    """Return the layer of that operation; `detail` is a convolution's kernel and attention's number of heads."""
    made: nn.Module
    if operation == "convolution":
        made = Convolution(before, after, detail)
    elif operation == "attention":
        made = Attention(before, after, detail)
    else:
        made = Recurrent(operation, before, after)
    first = Layer(made, before, after, dropout)
    return Block([first, Layer(FeedForward(after), after, after, dropout)]) if operation == "attention" else first


class Pool(nn.Module):
    """One vector a text: (N, L, width) -> (N, width); the mean or maximum of tokens, or a mean of learned weights."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.score = nn.Linear(width, 1) if kind == "attention" else None

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.kind == "max":
            return x.masked_fill(~mask.unsqueeze(2), -math.inf).amax(dim=1)
        score = mask.new_zeros(mask.shape, dtype=x.dtype) if self.score is None else self.score(x).squeeze(2)
        weight = score.masked_fill(~mask, -math.inf).softmax(dim=1)
        return (weight.unsqueeze(2) * x).sum(dim=1)


class TextNetwork(nn.Module):
    """Embedding, layers, pooling and a linear head: indices, int64 (N, L) -> logits (N, classes)."""

    def __init__(
        self,
        vocabulary: int,
        dim: int,
        layers: Sequence[nn.Module],
        width: int,
        pooling: str,
        dropout: float,
        classes: int,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dim, padding_idx=0)
        with torch.no_grad():
            self.embedding.weight.mul_(_SPREAD)
        self.normalisation = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.layers = Block(layers)
        self.pool = Pool(pooling, width)
        self.head = nn.Linear(width, classes)

    def forward(self, indices: Tensor) -> Tensor:
        tokens, mask = compact(indices)
        x = self.layers(self.dropout(self.normalisation(self.embedding(tokens))), mask)
        logits: Tensor = self.head(self.dropout(self.pool(x, mask)))
        return logits


def compact(indices: Tensor) -> tuple[Tensor, Tensor]:
    """Return indices (N, L) with padding moved behind the tokens, which stay in order, and their mask."""
    length = indices.shape[1]
    is_token = indices != 0
    # All padding goes to one place beyond the end, which is then cut off.
    place = torch.where(is_token, is_token.long().cumsum(1) - 1, length)
    tokens = functional.pad(torch.zeros_like(indices), (0, 1)).scatter(1, place, indices)[:, :length]
    return tokens, _places(tokens) < is_token.sum(dim=1, keepdim=True).clamp(min=1)


def sinusoids(length: int, width: int, like: Tensor) -> Tensor:
    """Return sines and cosines of positions, (length, width), each pair of columns at a frequency of its own."""
    column = torch.arange(width, device=like.device)
    frequency = 10_000.0 ** (-(column // 2 * 2) / width)
    phase = torch.arange(length, device=like.device).unsqueeze(1) * frequency
    return torch.where(column % 2 == 0, phase.sin(), phase.cos()).to(like.dtype)


def _reversed(x: Tensor, mask: Tensor) -> Tensor:
    """Return x (N, L, C) with the tokens of each text in reverse order and the padding where it was."""
    last = mask.sum(dim=1, keepdim=True) - 1
    place = _places(mask)
    place = torch.where(mask, last - place, place)
    return x.gather(1, place.unsqueeze(2).expand_as(x))


def _places(x: Tensor) -> Tensor:
    return torch.arange(x.shape[1], device=x.device)
