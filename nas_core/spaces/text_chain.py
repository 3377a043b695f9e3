"""The chain space for texts: embedded tokens, layers that mix them, one vector a text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, get_args

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.spaces._options import check, check_names, is_count, is_number, names, numbers
from nas_core.types import Architecture, Decision, Port, Signature

if TYPE_CHECKING:
    from torch import nn

Operation = Literal["convolution", "gru", "lstm", "attention"]
Pooling = Literal["mean", "max", "attention"]

_DEEPEST = 16
"""Beyond it, chains that are trained from scratch on texts are no use."""


class TextChain:
    """Token classifiers: embedding, a chain of convolutions, GRUs, LSTMs and self-attention blocks, pooling.

    Each layer is one of `operations`, of a width of its own; a convolution has a kernel, attention a number of heads.
    GRU and LSTM read in both directions, with half of the width each. Every layer has dropout, a shortcut (a projection
    where widths differ) and layer normalisation; attention comes with a feed-forward layer, and is told positions by
    sinusoids (Vaswani et al. 2017). Pooling is the mean or the maximum over tokens, or a mean with learned weights.
    Index 0 is padding: a text means the same wherever and however often it is padded. No two architectures are twins.

    The input is one int64 port (length,) with its vocabulary as classes; the output is logits (N, c) for one port of
    shape (c,). InputError for any other signature, and for options that are out of range.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        max_depth: int = 3,
        operations: Sequence[Operation] = ("convolution", "gru", "lstm", "attention"),
        widths: Sequence[int] = (32, 64, 128),
        kernels: Sequence[int] = (3, 5, 7),
        heads: Sequence[int] = (2, 4),
        embedding_dims: Sequence[int] = (32, 64, 128),
        dropouts: Sequence[float] = (0.1, 0.3, 0.5),
        poolings: Sequence[Pooling] = ("mean", "max", "attention"),
    ) -> None:
        self._port, self._classes = _ports(signature)
        check("max_depth", [max_depth], f"an integer from 1 to {_DEEPEST}", lambda v: is_count(v) and v <= _DEEPEST)
        check_names("operations", operations, get_args(Operation))
        check("kernels", kernels, "odd integers >= 1", lambda v: is_count(v) and v % 2 == 1)
        check("heads", heads, "integers >= 1", is_count)
        check("widths", widths, "integers >= 1", is_count)
        _check_divisible(widths, operations, heads)
        check("embedding_dims", embedding_dims, "integers >= 1", is_count)
        check("dropouts", dropouts, "numbers >= 0 and < 1", lambda v: is_number(v) and 0 <= v < 1)
        check_names("poolings", poolings, get_args(Pooling))

        decisions = [numbers("depth", range(1, max_depth + 1))]
        for i in range(1, max_depth + 1):
            deep_enough = (0, range(i - 1, max_depth))
            place = len(decisions)
            decisions += [names(f"operation_{i}", operations, deep_enough), numbers(f"width_{i}", widths, deep_enough)]
            if "convolution" in operations:
                decisions.append(numbers(f"kernel_{i}", kernels, (place, [operations.index("convolution")])))
            if "attention" in operations:
                decisions.append(numbers(f"heads_{i}", heads, (place, [operations.index("attention")])))
        decisions += [numbers("embedding_dim", embedding_dims), numbers("dropout", [float(p) for p in dropouts])]
        decisions.append(names("pooling", poolings))
        self._decisions = tuple(decisions)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The depth; each layer's operation, width, and kernel or heads; what the whole network has."""
        return self._decisions

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network of `architecture`, initialised by torch's global generator."""
        from nas_core.spaces._text_layers import TextNetwork, layer

        algebra.validate(self, architecture)
        choice = algebra.describe(self, architecture)
        depth, dropout = int(choice["depth"]), float(choice["dropout"])
        widths = [int(choice["embedding_dim"]), *(int(choice[f"width_{i}"]) for i in range(1, depth + 1))]
        layers = []
        for i, (before, after) in enumerate(pairwise(widths), start=1):
            detail = choice.get(f"kernel_{i}") or choice.get(f"heads_{i}") or 0
            layers.append(layer(choice[f"operation_{i}"], before, after, int(detail), dropout))
        return TextNetwork(self._port.classes, widths[0], layers, widths[-1], choice["pooling"], dropout, self._classes)


def _check_divisible(widths: Sequence[int], operations: Sequence[Operation], heads: Sequence[int]) -> None:
    needs = {f"the {n} heads of attention": n for n in heads if "attention" in operations}
    needs |= {f"the two directions of {cell}": 2 for cell in ("gru", "lstm") if cell in operations}
    for what, parts in needs.items():
        for width in widths:
            if width % parts:
                raise InputError(f"widths: must be multiples of {parts} for {what}, got {width}")


def _ports(signature: Signature) -> tuple[Port, int]:
    """Return the port of the tokens and the number of classes."""
    ports = signature.inputs
    if len(ports) != 1 or ports[0].dtype != "int64" or len(ports[0].shape) != 1 or ports[0].shape[0] < 1:
        found = ", ".join(f"{port.name!r} {port.dtype} {port.shape}" for port in ports) or "none"
        raise InputError(
            f"text-chain: needs one int64 input of shape (length,), got {found}; choose a space for such data"
        )
    if ports[0].classes < 2:
        raise InputError(
            f"text-chain: the input {ports[0].name!r} must say its vocabulary, padding and unknown at least, "
            f"got classes {ports[0].classes}"
        )
    shapes = [port.shape for port in signature.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 1 or shapes[0][0] < 1:
        raise InputError(f"text-chain: needs one output port of shape (classes,), got shapes {shapes}")
    return ports[0], shapes[0][0]
