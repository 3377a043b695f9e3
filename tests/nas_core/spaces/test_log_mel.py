"""The spectrogram beside an independent one: numpy's FFT, and mel filters written from their definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from nas_core.spaces._log_mel import FLOOR, LogMel, mel_filters
from nas_core.spaces._mel import edges, most_bands, transform_size

RATE = 8000


def filter_bank(rate: int, bands: int, size: int) -> np.ndarray:
    """Return triangles between frequencies that are even in mel, bin by bin."""
    mel = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), bands + 2)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    bank = np.zeros((bands, size // 2 + 1))
    for band in range(bands):
        for place in range(size // 2 + 1):
            bank[band, place] = np.interp(place * rate / size, hertz[band : band + 3], [0, 1, 0], left=0, right=0)
    return bank


def spectrogram(wave: np.ndarray, bands: int, window: int, hop: int) -> np.ndarray:
    """Return the log-mel spectrogram of one wave in float64."""
    size = 2 ** int(np.ceil(np.log2(window)))
    hann = signal.get_window("hann", window, fftbins=True)
    frames = [wave[start : start + window] * hann for start in range(0, len(wave) - window + 1, hop)]
    power = np.abs(np.fft.rfft(frames, size, axis=1)) ** 2 / (hann**2).sum()
    return np.log(filter_bank(RATE, bands, size) @ power.T + 1e-6)


@pytest.mark.parametrize(("bands", "window", "hop"), [(40, 200, 100), (24, 400, 160), (64, 256, 128)])
def test_real_clips_have_the_spectrogram_of_another_implementation(
    data: Path, bands: int, window: int, hop: int
) -> None:
    with np.load(data / "fsdd_small.npz", allow_pickle=False) as file:
        wave, starts = file["wave"] / 32768, file["offsets"][:600:75]
    waves = [wave[start : start + 4000] for start in starts]
    found = LogMel(RATE, bands, window, hop)(torch.tensor(np.stack(waves), dtype=torch.float32))
    for row, wave in zip(found.numpy(), waves, strict=True):
        np.testing.assert_allclose(row, spectrogram(wave, bands, window, hop), atol=1e-4)


def test_the_filters_are_those_of_the_definition() -> None:
    np.testing.assert_allclose(mel_filters(16_000, 30, 512).numpy(), filter_bank(16_000, 30, 512), atol=1e-12)


def test_white_noise_has_its_variance_as_power_whatever_the_window() -> None:
    noise = 0.1 * torch.randn(1, 400_000, generator=torch.Generator().manual_seed(0))
    for window in (200, 400):
        front = LogMel(RATE, 20, window, 400)
        power = (front(noise).exp() - FLOOR).mean(dim=2) / front.filters.sum(dim=1)
        np.testing.assert_allclose(power.numpy(), 0.01, rtol=0.2)


def test_silence_is_the_floor() -> None:
    torch.testing.assert_close(LogMel(RATE, 10, 200, 100)(torch.zeros(2, 500)), torch.full((2, 10, 4), np.log(FLOOR)))


def test_nothing_in_it_is_trained_or_saved() -> None:
    front = LogMel(RATE, 10, 200, 100)
    assert not list(front.parameters())
    assert not front.state_dict()


@given(st.integers(1, 4000))
def test_the_transform_is_the_next_power_of_two(window: int) -> None:
    size = transform_size(window)
    assert size.bit_count() == 1
    assert window <= size < 2 * window


@given(st.sampled_from([8000, 16_000, 44_100]), st.integers(16, 2048))
def test_up_to_the_most_bands_no_filter_is_empty(rate: int, window: int) -> None:
    most = most_bands(rate, window)
    if most:
        assert (mel_filters(rate, most, transform_size(window)).sum(dim=1) > 0).all()
    assert (mel_filters(rate, most + 1, transform_size(window)).sum(dim=1) == 0).any()


def test_the_edges_end_at_half_the_rate() -> None:
    assert edges(RATE, 5)[0] == 0
    assert edges(RATE, 5)[-1] == pytest.approx(RATE / 2)
    assert np.diff(edges(RATE, 5)).min() > 0
