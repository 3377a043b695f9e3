"""A column of clips, each as the bytes of a WAV file."""

from __future__ import annotations

import io
import math
import struct
import wave
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from components.encodings.items import Values, as_columns, read_each
from nas_core.errors import InputError
from nas_core.types import Port

_RATES = range(1_000, 384_001)
_MARGIN = 0.1
"""Seconds that are read beyond the end, so that the filter of a change of rate does not feel the cut."""

_FINEST = 1_000
"""The largest denominator of a ratio of two rates: as exact as a clock, and no filter is longer than it has to be."""


class _Clip(NamedTuple):
    """One channel of samples in [-1, 1], float32, and the seconds of the whole file."""

    samples: np.ndarray
    seconds: float


@dataclass(frozen=True, slots=True)
class Audio:
    """The first `samples` samples of each clip at `rate` samples a second, in [-1, 1]; silence follows shorter clips.

    Several channels are averaged, and clips of another rate are resampled.
    """

    kind: ClassVar[Literal["audio"]] = "audio"
    name: str
    rate: int
    samples: int

    measures: ClassVar[tuple[str, ...]] = ("seconds", "loudness", "crossings", "centroid")

    @classmethod
    def fit(cls, name: str, values: Values, *, sample_rate: int = 8000, seconds: float = 1.0) -> Audio:
        """Return the encoding for the files in `values`; InputError if all of them are silent."""
        made = cls(name, sample_rate, round(seconds * sample_rate))
        if not any(bool(clip.samples.any()) for clip in read_each(name, values, made._clip)):
            raise InputError(f"column {name!r}: no training row has a sound within {seconds:g} s; give other clips")
        return made

    @property
    def port(self) -> Port:
        """The input of a model: (samples,)."""
        return Port(name=self.name, shape=(self.samples,))

    def encode(self, values: Values) -> np.ndarray:
        """Return the clips as float32 (rows, samples); ItemError for a value that is no clip."""
        found = np.zeros((len(values), self.samples), np.float32)
        for row, clip in enumerate(read_each(self.name, values, self._clip)):
            found[row, : len(clip.samples)] = clip.samples
        return found

    def measure(self, values: Values) -> dict[str, np.ndarray]:
        """Return plain figures of each clip, float64 (rows,).

        The seconds of the whole file; of the part that a model hears, the loudness (root mean square), the zero
        crossings a second, and the centroid of its power spectrum in Hz, which is NaN for silence.
        """
        clips = read_each(self.name, values, self._clip)
        return as_columns(self.measures, ([clip.seconds, *_figures(clip.samples, self.rate)] for clip in clips))

    def _clip(self, value: Any) -> _Clip:
        """Return what the model hears of the WAV file `value`; ValueError if it is none."""
        heard, rate, seconds = _read(value, self.samples / self.rate + _MARGIN)
        return _Clip(_resampled(heard, rate, self.rate)[: self.samples], seconds)


def _figures(heard: np.ndarray, rate: int) -> list[float]:
    crossings = np.count_nonzero(np.diff(np.signbit(heard))) * rate / len(heard)
    power = np.abs(np.fft.rfft(heard.astype(np.float64))) ** 2
    total = power.sum()
    centroid = power @ np.fft.rfftfreq(len(heard), 1 / rate) / total if total > 0 else np.nan
    return [float(np.sqrt(np.mean(heard.astype(np.float64) ** 2))), crossings, float(centroid)]


def _resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    ratio = Fraction(wanted, rate).limit_denominator(_FINEST)
    found: np.ndarray = resample_poly(samples, ratio.numerator, ratio.denominator)
    return found.clip(-1, 1)


def _read(value: Any, seconds: float) -> tuple[np.ndarray, int, float]:
    """Return the beginning of a WAV file as one channel, float32, its rate, and the seconds of the whole file."""
    if value is None:
        raise ValueError("the clip is missing; remove the row")
    if not isinstance(value, bytes):
        raise ValueError(f"expected the bytes of a WAV file, got {type(value).__name__}")
    try:
        with wave.open(io.BytesIO(value)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = min(file.getnframes(), len(value) // (width * channels))  # a file that was streamed does not know
            if rate not in _RATES or width > 4:
                raise ValueError(f"a WAV file of {rate} samples a second and {8 * width} bits is not supported")
            data = file.readframes(min(frames, math.ceil(seconds * rate)))
    except (wave.Error, EOFError, struct.error, RuntimeError) as error:
        raise ValueError(f"no WAV file of PCM samples ({str(error) or 'it ends too soon'}); convert it") from error
    samples = _as_floats(data[: len(data) // (width * channels) * width * channels], width)
    if not len(samples):
        raise ValueError("the clip has no samples; remove the row")
    return samples.reshape(-1, channels).mean(axis=1), rate, frames / rate


def _as_floats(data: bytes, width: int) -> np.ndarray:
    """Return little-endian samples of `width` bytes, of which single ones are unsigned, as float32 in [-1, 1)."""
    raw = np.frombuffer(data, np.uint8).reshape(-1, width)
    whole = np.zeros((len(raw), 4), np.uint8)
    whole[:, 4 - width :] = raw ^ 0x80 if width == 1 else raw
    samples: np.ndarray = (whole.view("<i4")[:, 0] / 2**31).astype(np.float32)
    return samples
