from __future__ import annotations

import contextlib
import io
import json
import struct
import wave
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.encoding import Encoder
from components.encodings.audio import Audio
from components.encodings.items import ItemError
from nas_core.errors import InputError
from nas_core.types import Port

HALF = Audio("clip", 8000, 4000)


def saved(samples: np.ndarray, rate: int = 8000, width: int = 2) -> bytes:
    """Return a WAV file of samples (rows,) or (rows, channels) in [-1, 1]."""
    scaled = np.round(samples * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    data = b"".join(int(v).to_bytes(width, "little", signed=True) for v in scaled.ravel())
    if width == 1:
        data = bytes(byte ^ 0x80 for byte in data)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(data)
    return file.getvalue()


def tone(hertz: float, rate: int = 8000, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def test_the_port_is_samples() -> None:
    assert Audio.fit("clip", [saved(tone(440))], sample_rate=4000, seconds=0.25).port == Port(
        name="clip", shape=(1000,)
    )


@pytest.mark.parametrize(("width", "error"), [(1, 1e-2), (2, 1e-4), (3, 1e-6), (4, 1e-6)])
def test_samples_of_any_width_are_those_that_were_written(width: int, error: float) -> None:
    encoded = HALF.encode([saved(tone(440), width=width)])
    assert encoded.shape == (1, 4000)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded[0], tone(440), atol=error)


def test_long_clips_are_cut_and_silence_follows_short_ones() -> None:
    long, short = HALF.encode([saved(tone(440, seconds=1.0)), saved(tone(440, seconds=0.25))])
    np.testing.assert_array_equal(long[:2000], short[:2000])
    assert not short[2000:].any()


def test_channels_are_averaged() -> None:
    both = np.column_stack([tone(440), np.zeros(4000)])
    np.testing.assert_allclose(HALF.encode([saved(both)])[0], tone(440) / 2, atol=1e-4)


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100, 47999])
def test_a_tone_is_the_same_whatever_the_rate_of_its_file(rate: int) -> None:
    encoded = HALF.encode([saved(tone(440, rate, 1.0), rate)])[0]
    assert np.abs(encoded[100:] - tone(440)[100:]).max() < 0.02


def test_sounds_that_a_lower_rate_cannot_hold_are_filtered_out() -> None:
    encoded = HALF.encode([saved(tone(6000, 16000), 16000)])[0]
    assert np.abs(encoded[200:-200]).max() < 0.01


@given(st.integers(1000, 384_000), st.integers(1, 50))
def test_any_rate_gives_samples_from_minus_1_to_1(rate: int, count: int) -> None:
    square = np.sign(np.sin(np.arange(count)) + 0.1)
    encoded = Audio("clip", 8000, 80).encode([saved(square, rate)])
    assert encoded.shape == (1, 80)
    assert np.abs(encoded).max() <= 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the clip is missing; remove the row"),
        ("a.wav", "expected the bytes of a WAV file, got str"),
        (b"", "no WAV file of PCM samples (it ends too soon)"),
        (b"OggS and so on, and on", "no WAV file of PCM samples (file does not start with RIFF id)"),
        (saved(np.zeros(0)), "the clip has no samples"),
        (
            saved(tone(440)).replace(struct.pack("<I", 8000), struct.pack("<I", 50), 1),
            "a WAV file of 50 samples a second",
        ),
    ],
)
def test_what_is_no_clip_is_told_by_column_and_row(value: Any, reason: str) -> None:
    with pytest.raises(ItemError) as caught:
        HALF.encode([saved(tone(440)), value])
    assert str(caught.value).startswith(f"column 'clip', row 1: {reason}")


def test_a_file_that_was_cut_off_is_as_long_as_what_is_left() -> None:
    cut = saved(tone(440, seconds=0.5))[:-2001]
    encoded = HALF.encode([cut])[0]
    assert encoded[2900:2990].any()
    assert not encoded[3000:].any()
    assert HALF.measure([cut])["seconds"][0] == pytest.approx(0.375, abs=0.01)


@given(st.data())
def test_a_damaged_file_is_a_clip_or_the_users_error(data: st.DataObject) -> None:
    whole = bytearray(saved(tone(440, seconds=0.01)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 50))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ItemError):
        HALF.encode([bytes(whole[: data.draw(st.integers(0, len(whole)))])])


def test_clips_that_are_all_silent_are_refused() -> None:
    with pytest.raises(InputError, match=r"column 'clip': no training row has a sound within 0\.5 s"):
        Audio.fit("clip", [saved(np.zeros(100))], seconds=0.5)


def test_json_and_back_is_the_same_encoding() -> None:
    encoder = Encoder((), (), (HALF,))
    assert Encoder.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder


def test_figures_tell_length_loudness_crossings_and_centroid() -> None:
    figures = HALF.measure([saved(tone(1000, seconds=2.0)), saved(np.zeros(80))])
    assert figures["seconds"].tolist() == [2, 0.01]
    np.testing.assert_allclose(figures["loudness"], [0.5 / np.sqrt(2), 0], atol=1e-3)
    np.testing.assert_allclose(figures["crossings"], [2000, 0], atol=10)
    np.testing.assert_allclose(figures["centroid"], [1000, np.nan], atol=1)
