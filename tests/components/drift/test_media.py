"""Drift of images, texts and clips, told from fresh samples of what the model was trained on."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from components.drift.stage import check
from components.encoding import Column, Media
from components.encodings.audio import Audio
from components.encodings.image import Image
from components.encodings.text import Text
from components.profile import Profile
from components.sources import read
from components.spec import BuiltinSource, DriftSpec, LinesSource, NpzSource
from nas_core.errors import InputError

CONFIG = DriftSpec(min_rows=100)


def stored(values: Sequence[Any], media: Media, folder: Path) -> Path:
    frame = pd.DataFrame({media.name: values})
    profile = Profile.of(frame, [Column(media.name, media.kind)], [media], fitted=True)
    (folder / "profile.json").write_text(json.dumps(profile.to_json()), encoding="utf-8")
    return folder / "profile.json"


@pytest.fixture(scope="module")
def clothes() -> tuple[list[bytes], pd.DataFrame]:
    """Images to train on, and other ones."""
    frame = read(BuiltinSource(kind="builtin", name="fashion-mnist"), Path()).sample(1800, random_state=0)
    return frame["image"].tolist()[:1200], frame.iloc[1200:]


@pytest.fixture(scope="module")
def reference(clothes: tuple[list[bytes], pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(clothes[0], Image.fit("image", clothes[0]), tmp_path_factory.mktemp("reference"))


def changed(files: pd.DataFrame, change: Callable[[np.ndarray], np.ndarray]) -> pd.DataFrame:
    def redrawn(file: bytes) -> bytes:
        pixels = change(np.asarray(PIL.Image.open(io.BytesIO(file)), np.float64))
        made = io.BytesIO()
        PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(made, "PNG")
        return made.getvalue()

    return files.assign(image=files["image"].map(redrawn))


def noisy(pixels: np.ndarray) -> np.ndarray:
    return pixels + np.random.default_rng(int(pixels.sum())).normal(0, 20, pixels.shape)


def blurred(pixels: np.ndarray) -> np.ndarray:
    return (pixels + np.roll(pixels, 1, 0) + np.roll(pixels, 1, 1)) / 3


@pytest.mark.parametrize(
    ("change", "column"),
    [(lambda p: 0.7 * p, "image.brightness"), (noisy, "image.sharpness"), (blurred, "image.sharpness")],
    ids=["darker", "noisier", "blurred"],
)
def test_changed_images_are_drift(
    reference: Path,
    clothes: tuple[list[bytes], pd.DataFrame],
    change: Callable[[np.ndarray], np.ndarray],
    column: str,
) -> None:
    found = check(CONFIG, reference, changed(clothes[1], change), 0)
    assert found["verdict"] == "drift"
    assert column in found["drifted"]


def test_fresh_images_are_no_drift(reference: Path, clothes: tuple[list[bytes], pd.DataFrame]) -> None:
    assert check(CONFIG, reference, clothes[1], 0)["verdict"] == "no drift"


@pytest.fixture
def questions(data: Path) -> pd.DataFrame:
    source = LinesSource(kind="lines", path=str(data / "trec" / "TREC.train.all"), encoding="latin-1")
    return read(source, Path()).sample(frac=1, random_state=0)


def test_texts_are_drift_when_their_words_are_new_and_not_when_they_are_fresh(
    questions: pd.DataFrame, tmp_path: Path
) -> None:
    train = questions["text"].tolist()[:3500]
    profile = stored(train, Text.fit("text", train), tmp_path)
    fresh = questions.iloc[3500:]
    windows = [fresh.sample(400, random_state=i) for i in range(20)]
    # alpha is .05 each: 5 alarms or more of 20 come with probability .0026
    assert sum(check(CONFIG, profile, window, 0)["verdict"] == "drift" for window in windows) < 5
    backwards = fresh.assign(text=fresh["text"].str[::-1])
    assert "text.unknown" in check(CONFIG, profile, backwards, 0)["drifted"]


def test_a_single_speaker_is_drift_and_a_mix_of_all_is_not(data: Path, tmp_path: Path) -> None:
    clips = read(NpzSource(kind="npz", path=str(data / "fsdd_small.npz")), Path()).sample(frac=1, random_state=0)
    train, fresh = clips["audio"].tolist()[:300], clips.iloc[300:]
    profile = stored(train, Audio.fit("audio", train, seconds=0.75), tmp_path)
    assert check(CONFIG, profile, fresh, 0)["verdict"] == "no drift"
    one = check(DriftSpec(min_rows=30), profile, fresh[fresh["speaker"] == "george"], 0)
    assert "audio.centroid" in one["drifted"]


def test_a_window_without_the_column_and_one_with_a_broken_image_are_told(
    reference: Path, clothes: tuple[list[bytes], pd.DataFrame]
) -> None:
    window = clothes[1]
    with pytest.raises(InputError, match=r"drift\.source: no column image"):
        check(CONFIG, reference, window.drop(columns="image"), 0)
    row = window.index[5]
    with pytest.raises(InputError, match=f"column 'image', row {row}: no PNG or JPEG image"):
        check(CONFIG, reference, window.assign(image=window["image"].where(window.index != row, b"?")), 0)
