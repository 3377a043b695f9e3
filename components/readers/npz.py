"""Arrays of numpy: a table, images as arrays, or files and waves one after another."""

from __future__ import annotations

import io
import wave
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nas_core.errors import InputError

Arrays = Mapping[str, np.ndarray]

RATE = 8000
"""Samples a second of waves that do not say so."""

_PARTS = ("train", "test")
_TARGETS = ("y", "label", "labels")
_RESERVED = ("offsets", "blob", "wave", "classes", "rate")


def read_npz(path: Path, rate: int | None) -> pd.DataFrame:
    """Return the table in the file `path`, which has one of these layouts.

    - `x` (rows, columns) and `y` (rows,): a table whose columns are named by `columns`, else x0, x1 ..., and `y`;
    - `x` uint8 (rows, height, width) or (rows, height, width, 1 or 3) and `y`: the columns `image` (PNG files), `y`;
    - `x_train`, `y_train`, `x_test`, `y_test`: both of one of these, with a column `split`, `train` or `test`;
    - `offsets` (rows + 1,) into `blob`, uint8, of encoded files or into `wave`, int16, of samples: the column `image`
      or `audio`, and a column of each other array (rows,). A wave has `rate` samples a second, else those that the
      array `rate` says.

    `classes` names the numbers of `y`, `label` or `labels`. InputError for a file that is no npz or has no such layout.
    """
    arrays = _load(path)
    try:
        if "offsets" in arrays:
            return _rows_of_files(arrays, rate)
        if "x_train" in arrays:
            parts = [_table(arrays, f"_{part}").assign(split=part) for part in _PARTS]
            return pd.concat(parts, ignore_index=True)
        return _table(arrays, "")
    except ValueError as error:
        raise InputError(f"source.path: {path} {error}") from error


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path):
            pass  # numpy would take anything that is no archive for a pickle
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"source.path: {path} does not read as npz ({error}); save numbers with numpy.savez(path, x=..., y=...)"
        ) from error


def _table(arrays: Arrays, suffix: str) -> pd.DataFrame:
    names = [f"x{suffix}", f"y{suffix}"]
    if any(name not in arrays for name in names):
        raise ValueError(f"must hold the arrays {' and '.join(names)}, found {', '.join(arrays) or 'none'}")
    x, y = (arrays[name] for name in names)
    if x.ndim not in (2, 3, 4) or y.shape != x.shape[:1]:
        raise ValueError(
            f"must hold {names[0]} of shape (rows, columns) and {names[1]} of shape (rows,), got {x.shape}, {y.shape}; "
            "images are (rows, height, width) or (rows, height, width, channels)"
        )
    target = _named("y", y, arrays)
    if x.ndim > 2:
        return pd.DataFrame({"image": _as_png(names[0], x), "y": target})
    columns = [_text(name) for name in arrays.get("columns", [f"x{i}" for i in range(x.shape[1])])]
    if len(columns) != x.shape[1]:
        raise ValueError(f"names {len(columns)} columns, but {names[0]} has {x.shape[1]}")
    twice = sorted({name for name in [*columns, "y"] if [*columns, "y"].count(name) > 1})
    if twice:
        raise ValueError(f"has more than one column called {', '.join(twice)}; rename all but one")
    return pd.DataFrame(x, columns=columns).assign(y=target)


def _rows_of_files(arrays: Arrays, rate: int | None) -> pd.DataFrame:
    names = [name for name in ("blob", "wave") if name in arrays]
    if len(names) != 1:
        raise ValueError(f"holds offsets, and must hold blob or wave, found {' and '.join(names) or 'none of them'}")
    items = _cut(names[0], arrays)
    if names[0] == "wave":
        column, files = "audio", [_as_wav(item, _rate(arrays, rate)) for item in items]
    else:
        files = [item.tobytes() for item in items]
        column = "audio" if files and files[0].startswith(b"RIFF") else "image"
    others = {key: array for key, array in arrays.items() if key not in _RESERVED and array.shape == (len(items),)}
    return pd.DataFrame({column: pd.Series(files, dtype=object)}).assign(
        **{key: _named(key, array, arrays) for key, array in others.items()}
    )


def _cut(name: str, arrays: Arrays) -> list[np.ndarray]:
    data, offsets, dtype = arrays[name], arrays["offsets"], np.dtype(np.int16 if name == "wave" else np.uint8)
    if data.ndim != 1 or data.dtype != dtype:
        raise ValueError(f"must hold {name} as {dtype} of one dimension, got {data.dtype} {data.shape}")
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or not len(offsets):
        raise ValueError(f"must hold offsets as integers (rows + 1,), got {offsets.dtype} {offsets.shape}")
    places = offsets.astype(np.int64)
    if (np.diff(places) < 0).any() or places[0] < 0 or places[-1] > len(data):
        raise ValueError(f"holds offsets that do not rise from 0 to {len(data)}, the length of {name}; make them anew")
    return [data[start:end] for start, end in pairwise(places)]


def _rate(arrays: Arrays, given: int | None) -> int:
    stored = arrays.get("rate", np.array(RATE))
    if stored.shape or stored.dtype.kind not in "iu" or stored < 1:
        raise ValueError(f"must hold rate as one whole number, got {stored.dtype} {stored.shape}; set source.rate")
    return given or int(stored)


def _named(name: str, values: np.ndarray, arrays: Arrays) -> np.ndarray | list[str]:
    """Return `values` as text if they are text, or numbers of `classes`."""
    if values.dtype.kind in "SU":
        return [_text(value) for value in values]
    classes = arrays.get("classes")
    if classes is None or name not in _TARGETS or values.dtype.kind not in "iu" or not len(values):
        return values
    if values.min() < 0 or values.max() >= len(classes):
        raise ValueError(f"holds {len(classes)} classes, but {name} goes from {values.min()} to {values.max()}")
    return [_text(classes[value]) for value in values]


def _as_png(name: str, images: np.ndarray) -> list[bytes]:
    """Return images (rows, height, width[, channels]) as PNG files."""
    import PIL.Image

    grey = images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images
    if images.dtype != np.uint8 or (grey.ndim == 4 and grey.shape[3] != 3) or 0 in images.shape[1:]:
        raise ValueError(
            f"must hold images in {name} as uint8 (rows, height, width) or (rows, height, width, 1 or 3), "
            f"got {images.dtype} {images.shape}"
        )
    return [_saved(PIL.Image.fromarray(np.ascontiguousarray(pixels))) for pixels in grey]


def _saved(picture: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _as_wav(samples: np.ndarray, rate: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
