from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from components.readers.npz import read_npz
from nas_core.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 7), np.uint8)
WAVE = np.arange(-50, 50, dtype=np.int16)


def stored(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "a.npz", **{name: np.asarray(array) for name, array in arrays.items()})
    return folder / "a.npz"


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(file)))


def samples(file: bytes) -> tuple[list[int], int]:
    with wave.open(io.BytesIO(file)) as reader:
        return np.frombuffer(reader.readframes(reader.getnframes()), "<i2").tolist(), reader.getframerate()


@pytest.mark.parametrize("images", [IMAGES, np.stack([IMAGES, IMAGES, 255 - IMAGES], axis=3)])
def test_arrays_of_images_are_png_files(tmp_path: Path, images: np.ndarray) -> None:
    table = read_npz(stored(tmp_path, x=images, y=range(5)), None)
    assert table.columns.tolist() == ["image", "y"]
    np.testing.assert_array_equal([pixels(file) for file in table["image"]], images)


def test_a_last_axis_of_1_is_grey(tmp_path: Path) -> None:
    table = read_npz(stored(tmp_path, x=IMAGES[..., None], y=range(5)), None)
    np.testing.assert_array_equal(pixels(table["image"][0]), IMAGES[0])


@pytest.mark.parametrize(("x", "column"), [(IMAGES, "image"), (IMAGES[:, 0].astype(float), "x0")])
def test_two_parts_become_one_table_that_tells_them_apart(tmp_path: Path, x: np.ndarray, column: str) -> None:
    table = read_npz(stored(tmp_path, x_train=x[:3], y_train=[0, 1, 1], x_test=x[3:], y_test=[1, 0]), None)
    assert column in table
    assert table["y"].tolist() == [0, 1, 1, 1, 0]
    assert table["split"].tolist() == ["train"] * 3 + ["test"] * 2
    assert table.index.tolist() == list(range(5))


def test_numbers_of_classes_become_their_names(tmp_path: Path) -> None:
    table = read_npz(stored(tmp_path, x=IMAGES, y=[0, 1, 1, 0, 1], classes=np.array([b"cat", b"dog"])), None)
    assert table["y"].tolist() == ["cat", "dog", "dog", "cat", "dog"]


def test_files_one_after_another_are_cut_at_the_offsets(tmp_path: Path) -> None:
    blob = np.frombuffer(b"\x89PNGone\x89PNGthree", np.uint8)
    path = stored(tmp_path, blob=blob, offsets=[0, 7, 16], labels=[1, 0], classes=["cat", "dog"], by=[b"ann", b"bob"])
    table = read_npz(path, None)
    assert table["image"].tolist() == [b"\x89PNGone", b"\x89PNGthree"]
    assert table["labels"].tolist() == ["dog", "cat"]
    assert table["by"].tolist() == ["ann", "bob"]


def test_files_that_begin_with_riff_are_clips(tmp_path: Path) -> None:
    assert "audio" in read_npz(stored(tmp_path, blob=np.frombuffer(b"RIFF", np.uint8), offsets=[0, 4]), None)


def test_only_arrays_with_a_value_a_row_are_columns(tmp_path: Path) -> None:
    table = read_npz(stored(tmp_path, wave=WAVE, offsets=[0, 40, 100], label=[3, 4], mel=np.ones((2, 8)), note=7), None)
    assert table.columns.tolist() == ["audio", "label"]


@pytest.mark.parametrize(
    ("given", "more", "rate"), [(None, {}, 8000), (None, {"rate": 16000}, 16000), (4000, {"rate": 16000}, 4000)]
)
def test_waves_are_wav_files_of_the_rate_that_is_known(
    tmp_path: Path, given: int | None, more: dict[str, int], rate: int
) -> None:
    table = read_npz(stored(tmp_path, wave=WAVE, offsets=[0, 40, 100], **more), given)
    assert [samples(file) for file in table["audio"]] == [(WAVE[:40].tolist(), rate), (WAVE[40:].tolist(), rate)]


def test_spoken_digits_are_clips_with_their_speakers(data: Path) -> None:
    table = read_npz(data / "fsdd_small.npz", None)
    assert len(table) == 600
    assert {"audio", "label", "speaker"} <= {*table}
    assert table["speaker"].nunique() == 6


def test_jpeg_files_are_images_with_the_names_of_their_classes(data: Path) -> None:
    table = read_npz(data / "cifar10_small_test.npz", None)
    assert pixels(table["image"][0]).shape == (32, 32, 3)
    assert table["labels"].value_counts().to_dict() == dict.fromkeys(table["labels"].unique(), 100)
    assert "airplane" in table["labels"].tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES.astype(float), "y": range(5)}, "must hold images in x as uint8 (rows, height, width)"),
        ({"x": IMAGES[:, :, :, None].repeat(2, 3), "y": range(5)}, "got uint8 (5, 6, 7, 2)"),
        ({"x": IMAGES[:, :0], "y": range(5)}, "got uint8 (5, 0, 7)"),
        ({"x": IMAGES, "y": range(4)}, "got (5, 6, 7), (4,)"),
        ({"x_train": IMAGES, "y_train": range(5)}, "must hold the arrays x_test and y_test, found x_train, y_train"),
        ({"x": IMAGES, "y": [0, 1, 2, 0, 0], "classes": ["cat", "dog"]}, "holds 2 classes, but y goes from 0 to 2"),
        ({"offsets": [0, 3]}, "must hold blob or wave, found none of them"),
        ({"offsets": [0, 3], "blob": [1], "wave": WAVE}, "must hold blob or wave, found blob and wave"),
        ({"offsets": [0, 3], "wave": WAVE.astype(float)}, "must hold wave as int16 of one dimension, got float64"),
        ({"offsets": [0, 3], "blob": [[1]]}, "must hold blob as uint8 of one dimension, got int64 (1, 1)"),
        ({"offsets": [0.5], "wave": WAVE}, "must hold offsets as integers (rows + 1,), got float64"),
        ({"offsets": [0, 101], "wave": WAVE}, "holds offsets that do not rise from 0 to 100, the length of wave"),
        ({"offsets": [0, 9, 8], "wave": WAVE}, "holds offsets that do not rise"),
        ({"offsets": [-1, 9], "wave": WAVE}, "holds offsets that do not rise"),
        ({"offsets": [0, 9], "wave": WAVE, "rate": [8000]}, "must hold rate as one whole number"),
        ({"offsets": [0, 9], "wave": WAVE, "rate": 0}, "must hold rate as one whole number"),
    ],
)
def test_arrays_that_do_not_fit_say_why(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = stored(tmp_path, **arrays)
    with pytest.raises(InputError) as caught:
        read_npz(path, None)
    assert str(caught.value).startswith(f"source.path: {path} ")
    assert message in str(caught.value)
