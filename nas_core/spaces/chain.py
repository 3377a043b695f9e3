"""The chain space for tables: a multilayer perceptron over embedded columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, get_args

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.spaces._options import check, check_names, is_count, is_number, names, numbers, scaled
from nas_core.types import Architecture, Decision, Signature

if TYPE_CHECKING:
    from torch import nn

Activation = Literal["relu", "gelu", "silu"]
Normalisation = Literal["none", "batch", "layer"]
Numeric = Literal["linear", "periodic"]


_DEEPEST = 64
"""Beyond it, chains of dense layers are no use, and the algebra of so many decisions is slow."""


class Chain:
    """Layers one after another: how many, how wide each, and what they have in common.

    A layer is a linear map, normalisation, activation and dropout. With `residual`, every layer but the first has a
    shortcut, a projection where widths differ; that decision needs two layers. Categorical ports are embedded, each
    category as a vector of `embedding_dim` numbers. Numeric ports enter the first layer as they are (`linear`), or
    each column by periodic functions of learned frequencies, first drawn with the standard deviation `frequency_scale`
    (`periodic`: Gorishniy et al. 2022, PLR(lite)). No two architectures are twins.

    Inputs are float32 ports of shape (k,) and int64 ports of shape (); the output is logits (N, c) for one port of
    shape (c,). InputError for any other signature, and for options that are out of range.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        max_depth: int = 4,
        widths: Sequence[int] = (32, 64, 128, 256),
        activations: Sequence[Activation] = ("relu", "gelu", "silu"),
        normalisations: Sequence[Normalisation] = ("none", "batch", "layer"),
        dropouts: Sequence[float] = (0.0, 0.1, 0.2, 0.4),
        residual: Sequence[bool] = (False, True),
        embedding_dims: Sequence[int] = (4, 8, 16),
        numeric: Sequence[Numeric] = ("linear", "periodic"),
        frequency_scales: Sequence[float] = (0.1, 0.3, 1.0),
    ) -> None:
        _check_signature(signature)
        check("max_depth", [max_depth], f"an integer from 1 to {_DEEPEST}", lambda v: is_count(v) and v <= _DEEPEST)
        check("widths", widths, "integers >= 1", is_count)
        check("embedding_dims", embedding_dims, "integers >= 1", is_count)
        check("dropouts", dropouts, "numbers >= 0 and < 1", lambda v: is_number(v) and 0 <= v < 1)
        check("frequency_scales", frequency_scales, "numbers > 0", lambda v: is_number(v) and 0 < v < math.inf)
        check("residual", residual, "true or false", lambda v: isinstance(v, bool))
        check_names("activations", activations, get_args(Activation))
        check_names("normalisations", normalisations, get_args(Normalisation))
        check_names("numeric", numeric, get_args(Numeric))

        depths = range(1, max_depth + 1)
        decisions = [numbers("depth", depths)]
        decisions += [numbers(f"width_{i}", widths, (0, range(i - 1, max_depth))) for i in depths]
        decisions += [names("activation", activations), names("normalisation", normalisations)]
        decisions.append(numbers("dropout", [float(p) for p in dropouts]))
        if max_depth > 1:
            decisions.append(names("residual", ["yes" if r else "no" for r in residual], (0, range(1, max_depth))))
        if any(port.dtype == "int64" for port in signature.inputs):
            decisions.append(numbers("embedding_dim", embedding_dims))
        if any(port.dtype == "float32" for port in signature.inputs):
            decisions.append(names("numeric", numeric))
            if "periodic" in numeric:
                periodic = (len(decisions) - 1, [numeric.index("periodic")])
                decisions.append(numbers("frequency_scale", [float(s) for s in frequency_scales], periodic))
        self._signature = signature
        self._decisions = tuple(decisions)
        self._share = 1.0

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The depth, the width of each layer, and what the layers share; only what the signature has a use for."""
        return self._decisions

    def scaled(self, share: float) -> Chain:
        """Return the same layers with `share` of their widths; see `nas_core.interfaces.Scalable`."""
        other = copy(self)
        vars(other).update(_share=self._share * share)
        return other

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network of `architecture`, initialised by torch's global generator."""
        from nas_core.spaces._layers import Features, Layer, Network

        algebra.validate(self, architecture)
        choice = algebra.describe(self, architecture)
        scale = float(choice["frequency_scale"]) if choice.get("numeric") == "periodic" else None
        features = Features(self._signature.inputs, int(choice.get("embedding_dim", 0)), scale)
        widths = [
            features.width,
            *(scaled(int(choice[f"width_{i + 1}"]), self._share) for i in range(int(choice["depth"]))),
        ]
        layers = [
            Layer(
                before,
                after,
                activation=choice["activation"],
                normalisation=choice["normalisation"],
                dropout=float(choice["dropout"]),
                residual=i > 0 and choice["residual"] == "yes",
            )
            for i, (before, after) in enumerate(pairwise(widths))
        ]
        return Network(features, layers, widths[-1], self._signature.outputs[0].shape[0])


def _check_signature(signature: Signature) -> None:
    if not signature.inputs:
        raise InputError("chain: needs at least one input port, got none")
    for port in signature.inputs:
        if port.dtype == "float32" and not (len(port.shape) == 1 and port.shape[0] > 0):
            raise InputError(
                f"chain: the float32 input {port.name!r} must have shape (k,), got {port.shape}; "
                "this space is for tables, choose one for such data"
            )
        if port.dtype == "int64" and not (port.shape == () and port.classes > 0):
            raise InputError(
                f"chain: the int64 input {port.name!r} must have shape () and say its number of classes, "
                f"got shape {port.shape} and classes {port.classes}"
            )
    shapes = [port.shape for port in signature.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 1 or shapes[0][0] < 1:
        raise InputError(f"chain: needs one output port of shape (classes,), got shapes {shapes}")
