"""Packs WAV files called `<digit>_<speaker>_<take>.wav` into one npz that a spec can name as its source.

python examples/spoken_digits/pack.py recordings digits.npz [--takes 10]
"""

from __future__ import annotations

import argparse
import sys
import wave
from pathlib import Path

import numpy as np


def pack(folder: Path, target: Path, takes: int) -> int:
    """Write the first `takes` takes of every speaker and digit in `folder` to `target`; return how many there are."""
    samples, labels, speakers, rates = [], [], [], set()
    for path in sorted(folder.glob("*_*_*.wav")):
        digit, speaker, take = path.stem.split("_")
        if int(take) >= takes:
            continue
        with wave.open(str(path)) as clip:
            rates.add(clip.getframerate())
            samples.append(np.frombuffer(clip.readframes(clip.getnframes()), np.int16))
        labels.append(int(digit))
        speakers.append(speaker)
    if not samples:
        sys.exit(f"{folder}: holds no files called <digit>_<speaker>_<take>.wav")
    if len(rates) > 1:
        sys.exit(f"{folder}: the clips have different sample rates, {sorted(rates)}; convert them to one")
    offsets = np.cumsum([0, *map(len, samples)])
    arrays = {"wave": np.concatenate(samples), "offsets": offsets, "rate": np.array(rates.pop())}
    np.savez_compressed(target, label=np.array(labels, np.uint8), speaker=np.array(speakers), **arrays)
    return len(samples)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recordings", type=Path, help="the folder of WAV files")
    parser.add_argument("target", type=Path, help="the npz to write")
    parser.add_argument("--takes", type=int, default=10, help="how many takes of each speaker and digit")
    given = parser.parse_args()
    print(f"packed {pack(given.recordings, given.target, given.takes)} clips into {given.target}")
