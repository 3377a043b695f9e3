"""A column of images, each as the bytes of a PNG or JPEG file."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from components.encodings.items import Values, as_columns, read_each
from nas_core.errors import InputError
from nas_core.types import Port

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_FORMATS = ("PNG", "JPEG")
_MOST_PIXELS = 50_000_000
"""A file of a few kilobytes may claim to be larger than the memory."""

_BROKEN = (OSError, SyntaxError, EOFError, IndexError, struct.error, zlib.error)
"""What pillow raises, besides ValueError, over files that are not what they should be."""

_GREY = {"1", "L", "LA", "La", "I", "F"}


@dataclass(frozen=True, slots=True)
class Image:
    """Images made `height` x `width` pixels, standardised by `mean` and `std` of each channel of the training images.

    One channel is grey, three are red, green and blue. Mean and std are of pixels in [0, 1].
    """

    kind: ClassVar[Literal["image"]] = "image"
    name: str
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, name: str, values: Values, *, size: int | None = None, channels: int | None = None) -> Image:
        """Return the encoding for the files in `values`.

        Images become `size` x `size` pixels; without it they keep the size that all of them have. Without `channels`,
        these are as many as the first image has. ItemError for a value that is no image, InputError if there is no
        size, or no image.
        """
        if not len(values):
            raise InputError(f"column {name!r}: no training row has an image; give more rows")
        height, width = (size, size) if size else _common_size(name, values)
        if channels is None:
            first = next(read_each(name, values, _opened))
            channels = 1 if first.mode.partition(";")[0] in _GREY else 3
        plain = cls(name, height, width, (0.0,) * channels, (1.0,) * channels)
        sums, squares = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
        for pixels in read_each(name, values, plain.pixels):
            each = pixels.reshape(-1, channels).astype(np.int64)
            sums += each.sum(axis=0)
            squares += (each**2).sum(axis=0)
        count = len(values) * height * width
        mean = sums / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        std = np.where(deviation > 0, deviation, 255)
        return cls(name, height, width, tuple((mean / 255).tolist()), tuple((std / 255).tolist()))

    @property
    def port(self) -> Port:
        """The input of a model: (channels, height, width)."""
        return Port(name=self.name, shape=(len(self.mean), self.height, self.width))

    def encode(self, values: Values) -> np.ndarray:
        """Return the images as float32 (rows, channels, height, width); ItemError for a value that is no image."""
        found = np.empty((len(values), *self.port.shape), np.float32)
        for row, pixels in enumerate(read_each(self.name, values, self.pixels)):
            found[row] = pixels.transpose(2, 0, 1)
        mean, std = (np.array(figures, np.float32)[:, None, None] for figures in (self.mean, self.std))
        found /= 255
        found -= mean
        found /= std
        return found

    def pixels(self, value: Any) -> np.ndarray:
        """Return the image in the file `value`, resized, uint8 (height, width, channels); ValueError if it is none."""
        import PIL.Image

        try:
            picture = _eight_bits(_opened(value)).convert("L" if len(self.mean) == 1 else "RGB")
        except _BROKEN as error:
            raise ValueError(f"the image does not read ({error}); replace the file") from error
        if picture.size != (self.width, self.height):
            picture = picture.resize((self.width, self.height), PIL.Image.Resampling.BILINEAR)
        return np.asarray(picture).reshape(self.height, self.width, len(self.mean))

    @property
    def measures(self) -> tuple[str, ...]:
        """What `measure` tells of an image."""
        return ("brightness", "contrast", "sharpness", *(("colour",) if len(self.mean) > 1 else ()))

    def measure(self, values: Values) -> dict[str, np.ndarray]:
        """Return plain figures of each image as a model sees it, from 0 to 1, float64 (rows,).

        Brightness is the mean of the grey pixels and contrast their standard deviation; sharpness is the mean
        difference of neighbours, which noise raises and blur lowers; colour is the mean distance of the channels.
        """
        return as_columns(self.measures, map(_figures, read_each(self.name, values, self.pixels)))


def _figures(pixels: np.ndarray) -> list[float]:
    scaled = pixels / 255
    grey = scaled.mean(axis=2)
    steps = np.concatenate([np.abs(np.diff(grey, axis=axis)).ravel() for axis in (0, 1)])
    figures = [grey.mean(), grey.std(), steps.mean() if len(steps) else 0.0]
    return figures if scaled.shape[2] == 1 else [*figures, np.ptp(scaled, axis=2).mean()]


def _common_size(name: str, values: Values) -> tuple[int, int]:
    """Return the height and width that all images have; InputError if they differ."""
    sizes = list(read_each(name, values, lambda value: _opened(value).size))
    other = next((row for row, size in enumerate(sizes) if size != sizes[0]), None)
    if other is not None:
        first, second = ("{} x {}".format(*sizes[row]) for row in (0, other))
        raise InputError(f"task.size: the images in {name!r} differ in size ({first}, {second} pixels); set task.size")
    width, height = sizes[0]
    return height, width


def _opened(value: Any) -> Picture:
    """Return the image of a file whose pixels are not yet read; ValueError if it is none."""
    import PIL.Image

    if value is None:
        raise ValueError("the image is missing; remove the row")
    if not isinstance(value, bytes):
        raise ValueError(f"expected the bytes of a PNG or JPEG file, got {type(value).__name__}")
    try:
        picture = PIL.Image.open(io.BytesIO(value), formats=_FORMATS)
    except PIL.UnidentifiedImageError as error:
        raise ValueError(
            f"no PNG or JPEG image: it begins with {value[:8]!r}; convert it, or remove the row"
        ) from error
    except (*_BROKEN, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"the image does not read ({error}); replace the file") from error
    if picture.width * picture.height > _MOST_PIXELS:
        raise ValueError(
            f"the image has {picture.width} x {picture.height} pixels, more than {_MOST_PIXELS:,}; make it smaller"
        )
    return picture


def _eight_bits(picture: Picture) -> Picture:
    """Return `picture` with 8 bits a pixel; pillow's own conversion would cut 16 bits off at 255."""
    import PIL.Image

    if not picture.mode.startswith("I"):
        return picture
    return PIL.Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
