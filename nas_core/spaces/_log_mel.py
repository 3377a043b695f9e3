"""Log-mel spectrograms in torch: fixed, and two matrix products, so that they can be exported with the network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas_core.spaces._mel import edges, transform_size

FLOOR = 1e-6
"""Power that is added to every band: that of white noise of standard deviation 0.001, 60 dB below full scale."""


class LogMel(nn.Module):
    """The log-mel spectrogram of waves, float32 (N, samples) -> (N, bands, frames); nothing in it is trained.

    Frames of `window` samples, one every `hop`, none beyond the ends of the wave, are weighted by a periodic Hann
    window of unit energy: however long it is, white noise of variance v has the power v at every frequency. Power
    spectra are summed by triangular filters of height 1 on the mel scale (`_mel.edges`), up to half of `rate` (Hz); the
    result is the natural logarithm of that and FLOOR.
    """

    basis: Tensor
    filters: Tensor

    def __init__(self, rate: int, bands: int, window: int, hop: int) -> None:
        super().__init__()
        size = transform_size(window)
        self.hop = hop
        # Not persistent: they follow from the arguments, and would be most of a small network's file.
        self.register_buffer("basis", fourier(window, size).float().unsqueeze(1), persistent=False)
        self.register_buffer("filters", mel_filters(rate, bands, size).float(), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        real, imaginary = functional.conv1d(wave.unsqueeze(1), self.basis, stride=self.hop).chunk(2, dim=1)
        return torch.log(self.filters @ (real.square() + imaginary.square()) + FLOOR)


def mel_filters(rate: int, bands: int, size: int) -> Tensor:
    """Return the filters over the frequencies of a transform of `size` points, float64 (bands, size / 2 + 1)."""
    low, centre, high = torch.tensor(edges(rate, bands), dtype=torch.float64).unfold(0, 3, 1).unsqueeze(2).unbind(1)
    frequency = torch.arange(size // 2 + 1, dtype=torch.float64) * rate / size
    return torch.minimum((frequency - low) / (centre - low), (high - frequency) / (high - centre)).clamp(min=0)


def fourier(window: int, size: int) -> Tensor:
    """Return cosines, then sines, of all frequencies under the window, float64 (2 (size / 2 + 1), window)."""
    hann = torch.hann_window(window, periodic=True, dtype=torch.float64)
    frequency = torch.arange(size // 2 + 1, dtype=torch.float64).unsqueeze(1)
    phase = 2 * math.pi / size * frequency * torch.arange(window, dtype=torch.float64)
    return torch.cat([phase.cos(), phase.sin()]) * hann / hann.square().sum().sqrt()
