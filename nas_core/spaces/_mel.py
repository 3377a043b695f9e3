"""The arithmetic of mel filters, which a space checks its options by before there is a network."""

from __future__ import annotations

import math


def edges(rate: int, bands: int) -> list[float]:
    """Return the `bands` + 2 frequencies in Hz between which triangular filters rise and fall, from 0 to `rate` / 2.

    They are evenly spaced on the mel scale of O'Shaughnessy 1987, 2595 log10(1 + f / 700), as HTK has it.
    """
    highest = 2595 * math.log10(1 + rate / 2 / 700)
    return [700 * (10 ** (highest * i / (bands + 1) / 2595) - 1) for i in range(bands + 2)]


def transform_size(window: int) -> int:
    """Return how many points the Fourier transform of `window` samples has: a power of 2, no fewer than that."""
    return 1 << math.ceil(math.log2(window))


def most_bands(rate: int, window: int) -> int:
    """Return up to how many filters each have a frequency of the transform within them.

    The lowest filter is the narrowest, so it is the one that runs out of frequencies first.
    """
    spacing = rate / transform_size(window)
    bands = 0
    while edges(rate, bands + 1)[2] > spacing:
        bands += 1
    return bands
