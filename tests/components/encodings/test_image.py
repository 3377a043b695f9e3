from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.encoding import Encoder
from components.encodings.image import Image
from components.encodings.items import ItemError
from nas_core.errors import InputError
from nas_core.types import Port

GREY = Image("image", 8, 8, (0.0,), (1.0,))


def saved(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def colours() -> list[bytes]:
    """Twenty images, 12 pixels wide and 10 high."""
    rng = np.random.default_rng(0)
    return [saved(rng.integers(0, 256, (10, 12, 3), np.uint8)) for _ in range(20)]


def test_the_port_is_channels_height_width(colours: list[bytes]) -> None:
    assert Image.fit("photo", colours).port == Port(name="photo", shape=(3, 10, 12))
    assert Image.fit("photo", colours, size=6, channels=1).port == Port(name="photo", shape=(1, 6, 6))


def test_each_channel_of_the_training_images_has_mean_0_and_deviation_1(colours: list[bytes]) -> None:
    image = Image.fit("image", colours)
    encoded = image.encode(colours)
    assert encoded.shape == (20, *image.port.shape)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(encoded.std(axis=(0, 2, 3)), 1, atol=1e-5)


def test_pixels_are_in_their_place() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
    image = Image("image", 2, 4, (0.0,) * 3, (1 / 255,) * 3)
    np.testing.assert_allclose(image.encode([saved(pixels)])[0], pixels.transpose(2, 0, 1), rtol=1e-6)


def test_an_image_of_one_colour_is_0_and_not_infinite() -> None:
    flat = saved(np.full((4, 4), 7, np.uint8))
    assert not Image.fit("image", [flat] * 3).encode([flat]).any()


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("I;16", 1), ("P", 3), ("RGBA", 3)])
def test_channels_are_those_of_the_first_image(mode: str, channels: int) -> None:
    file = io.BytesIO()
    PIL.Image.new(mode, (4, 4)).save(file, "PNG")
    assert Image.fit("image", [file.getvalue()]).port.shape == (channels, 4, 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_grey_and_colour_are_made_alike(kind: str) -> None:
    grey = np.full((8, 8), 100, np.uint8)
    one, three = saved(grey, kind), saved(np.repeat(grey[:, :, None], 3, axis=2), kind)
    np.testing.assert_allclose(GREY.pixels(one), GREY.pixels(three), atol=2)


def test_16_bits_are_scaled_and_not_cut_off() -> None:
    deep = np.array([[0, 256], [32768, 65535]], np.uint16)
    assert Image("image", 2, 2, (0.0,), (1.0,)).pixels(saved(deep)).ravel().tolist() == [0, 1, 128, 255]


def test_images_of_one_size_keep_it_and_others_need_one_told(colours: list[bytes]) -> None:
    other = saved(np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(InputError, match=r"task\.size: .*differ in size \(12 x 10, 6 x 5 pixels\); set task\.size"):
        Image.fit("image", [*colours, other])
    assert Image.fit("image", [*colours, other], size=4).encode([other]).shape == (1, 3, 4, 4)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the image is missing; remove the row"),
        ("cat.png", "expected the bytes of a PNG or JPEG file, got str"),
        (b"GIF89a and so on", "no PNG or JPEG image: it begins with b'GIF89a a'"),
        (b"", "no PNG or JPEG image"),
        (saved(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8))[:-30], "the image does not read ("),
    ],
)
def test_what_is_no_image_is_told_by_column_and_row(value: Any, reason: str) -> None:
    with pytest.raises(ItemError) as caught:
        GREY.encode([saved(np.zeros((8, 8), np.uint8)), value])
    assert str(caught.value).startswith(f"column 'image', row 1: {reason}")


def test_an_image_that_would_fill_the_memory_is_refused_by_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.encodings.image._MOST_PIXELS", 63)
    with pytest.raises(ItemError, match="the image has 8 x 8 pixels, more than 63"):
        GREY.encode([saved(np.zeros((8, 8), np.uint8))])


@given(st.data())
def test_a_damaged_file_is_an_image_or_the_users_error(data: st.DataObject) -> None:
    whole = bytearray(saved(np.arange(64, dtype=np.uint8).reshape(8, 8), data.draw(st.sampled_from(["PNG", "JPEG"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ItemError):
        GREY.encode([bytes(whole[: data.draw(st.integers(0, len(whole)))])])


def test_json_and_back_is_the_same_encoding(colours: list[bytes]) -> None:
    encoder = Encoder((), (), (Image.fit("image", colours),))
    assert Encoder.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder


def test_figures_tell_light_contrast_sharpness_and_colour() -> None:
    image = Image("image", 8, 8, (0.0,) * 3, (1.0,) * 3)
    checked = np.indices((8, 8)).sum(axis=0) % 2 * 255
    figures = image.measure(
        [
            saved(np.zeros((8, 8), np.uint8)),
            saved(checked.astype(np.uint8)),
            saved(np.tile(np.uint8([255, 0, 0]), (8, 8, 1))),
        ]
    )
    assert {name: values.round(3).tolist() for name, values in figures.items()} == {
        "brightness": [0, 0.5, 0.333],
        "contrast": [0, 0.5, 0],
        "sharpness": [0, 1, 0],
        "colour": [0, 0, 1],
    }


def test_grey_images_have_no_figure_of_colour() -> None:
    assert "colour" not in GREY.measure([saved(np.zeros((8, 8), np.uint8))])
