"""The chain space for sounds: a log-mel spectrogram, a chain of convolutions, one vector a sound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.spaces._mel import most_bands
from nas_core.spaces._options import check, check_names, is_count, is_number, names, numbers
from nas_core.types import Architecture, Decision, Signature

if TYPE_CHECKING:
    from torch import nn

Normalisation = Literal["batch", "clip"]
Convolution = Literal["1d", "2d"]
Block = Literal["plain", "separable", "residual"]
Pooling = Literal["mean", "max", "both"]

_DEEPEST = 16
"""Beyond it, chains with no more than a shortcut around each block are no use."""

_SHORTEST = 4
"""Samples in a window; with fewer there is no spectrum to speak of."""

_CONVOLUTION, _DEPTH = 4, 5
"""The places of these two among the decisions; others depend on them."""

_FIRST_STRIDE = 2
"""Of the first block: at full resolution, convolutions cost most and tell least."""


class AudioChain:
    """Sound classifiers: a log-mel spectrogram, a chain of convolutional blocks over it, pooling.

    The spectrogram is part of the network, but nothing in it is trained: how many mel `bands` it has, and how many
    milliseconds its windows are long and apart, are decisions. Its bands are standardised over all clips (`batch`), or
    within each one (`clip`), which helps with voices that were never heard. Convolutions go over time, with bands as
    channels (`1d`), or over bands and time (`2d`); the two have widths of their own, because a channel of the latter
    costs as many times more as there are bands. Each block is one convolution, a separable one, or two with a shortcut,
    of a width, a kernel and a stride of its own; the first stride is 2. Pooling over time is the mean, the maximum, or
    both. No two architectures are twins.

    The input is one float32 port (samples,), a wave in [-1, 1] at `sample_rate` Hz; the output is logits (N, c) for one
    port of shape (c,). InputError for any other signature, and for options that are out of range.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        sample_rate: int = 8000,
        bands: Sequence[int] = (24, 40),
        windows_ms: Sequence[float] = (25, 50),
        hops_ms: Sequence[float] = (12.5, 20),
        normalisations: Sequence[Normalisation] = ("batch", "clip"),
        max_depth: int = 4,
        convolutions: Sequence[Convolution] = ("1d", "2d"),
        blocks: Sequence[Block] = ("plain", "separable", "residual"),
        widths_1d: Sequence[int] = (64, 128, 256),
        widths_2d: Sequence[int] = (16, 32, 64),
        kernels: Sequence[int] = (3, 5),
        strides: Sequence[int] = (1, 2),
        dropouts: Sequence[float] = (0.0, 0.2, 0.4),
        poolings: Sequence[Pooling] = ("mean", "max", "both"),
    ) -> None:
        samples, self._classes = _shapes(signature)
        check("sample_rate", [sample_rate], "an integer >= 1", is_count)
        check("bands", bands, "integers >= 1", is_count)
        check("windows_ms", windows_ms, "numbers > 0", lambda v: is_number(v) and 0 < v < math.inf)
        check("hops_ms", hops_ms, "numbers > 0", lambda v: is_number(v) and 0 < v < math.inf)
        self._rate = sample_rate
        self._check_spectrogram(samples, bands, windows_ms, hops_ms)
        check("max_depth", [max_depth], f"an integer from 1 to {_DEEPEST}", lambda v: is_count(v) and v <= _DEEPEST)
        check_names("normalisations", normalisations, get_args(Normalisation))
        check_names("convolutions", convolutions, get_args(Convolution))
        check_names("blocks", blocks, get_args(Block))
        check("widths_1d", widths_1d, "integers >= 1", is_count)
        check("widths_2d", widths_2d, "integers >= 1", is_count)
        check("kernels", kernels, "odd integers >= 1", lambda v: is_count(v) and v % 2 == 1)
        check("strides", strides, "integers >= 1", is_count)
        check("dropouts", dropouts, "numbers >= 0 and < 1", lambda v: is_number(v) and 0 <= v < 1)
        check_names("poolings", poolings, get_args(Pooling))

        decisions = [
            numbers("bands", bands),
            numbers("window_ms", windows_ms),
            numbers("hop_ms", hops_ms),
            names("normalisation", normalisations),
            names("convolution", convolutions),
            numbers("depth", range(1, max_depth + 1)),
        ]
        for i in range(1, max_depth + 1):
            deep_enough = (_DEPTH, range(i - 1, max_depth))
            decisions.append(names(f"block_{i}", blocks, deep_enough))
            for kind, widths in (("1d", widths_1d), ("2d", widths_2d)):
                if kind in convolutions:
                    decisions.append(
                        numbers(f"width_{kind}_{i}", widths, (_CONVOLUTION, [convolutions.index(kind)]), deep_enough)
                    )
            decisions.append(numbers(f"kernel_{i}", kernels, deep_enough))
            if i > 1:
                decisions.append(numbers(f"stride_{i}", strides, deep_enough))
        decisions += [numbers("dropout", [float(p) for p in dropouts]), names("pooling", poolings)]
        self._decisions = tuple(decisions)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The spectrogram; the kind and number of convolutions; each block; what the whole network has."""
        return self._decisions

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network of `architecture`, initialised by torch's global generator."""
        from nas_core.spaces._audio_layers import AudioNetwork, Plan, chain
        from nas_core.spaces._log_mel import LogMel

        algebra.validate(self, architecture)
        choice = algebra.describe(self, architecture)
        kind, bands = choice["convolution"], int(choice["bands"])
        plans = [
            Plan(
                kind=choice[f"block_{i}"],
                width=int(choice[f"width_{kind}_{i}"]),
                kernel=int(choice[f"kernel_{i}"]),
                stride=int(choice.get(f"stride_{i}", _FIRST_STRIDE)),
            )
            for i in range(1, int(choice["depth"]) + 1)
        ]
        blocks, features = chain(1 if kind == "1d" else 2, bands, plans)
        window, hop = (self._samples(float(choice[name])) for name in ("window_ms", "hop_ms"))
        front = LogMel(self._rate, bands, window, hop)
        return AudioNetwork(
            front,
            blocks,
            features,
            normalisation=choice["normalisation"],
            pooling=choice["pooling"],
            dropout=float(choice["dropout"]),
            classes=self._classes,
        )

    def _samples(self, milliseconds: float) -> int:
        return round(self._rate * milliseconds / 1000)

    def _check_spectrogram(
        self, samples: int, bands: Sequence[int], windows_ms: Sequence[float], hops_ms: Sequence[float]
    ) -> None:
        shortest, longest = (self._samples(pick(windows_ms)) for pick in (min, max))
        for window in windows_ms:
            if self._samples(window) < _SHORTEST:
                raise InputError(f"windows_ms: must be {_SHORTEST} samples or more at {self._rate} Hz, got {window}")
        for hop in hops_ms:
            if not 1 <= self._samples(hop) <= shortest:
                raise InputError(
                    f"hops_ms: must be one sample or more and no longer than the shortest window ({min(windows_ms)} "
                    f"ms), or samples between would be lost, got {hop}"
                )
        if longest + self._samples(max(hops_ms)) > samples:
            raise InputError(
                f"windows_ms: two must fit into the input's {samples * 1000 / self._rate:g} ms at {self._rate} Hz, "
                f"{max(hops_ms)} ms apart, got {max(windows_ms)}"
            )
        fit = min(most_bands(self._rate, self._samples(window)) for window in windows_ms)
        if max(bands) > fit:
            raise InputError(
                f"bands: must be at most {fit}, or some would lie between the frequencies of the shortest window "
                f"({min(windows_ms)} ms), got {max(bands)}"
            )


def _shapes(signature: Signature) -> tuple[int, int]:
    """Return the numbers of samples and of classes."""
    ports = signature.inputs
    if len(ports) != 1 or ports[0].dtype != "float32" or len(ports[0].shape) != 1 or ports[0].shape[0] < 1:
        found = ", ".join(f"{port.name!r} {port.dtype} {port.shape}" for port in ports) or "none"
        raise InputError(
            f"audio-chain: needs one float32 input of shape (samples,), got {found}; choose a space for such data"
        )
    shapes = [port.shape for port in signature.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 1 or shapes[0][0] < 1:
        raise InputError(f"audio-chain: needs one output port of shape (classes,), got shapes {shapes}")
    return ports[0].shape[0], shapes[0][0]
