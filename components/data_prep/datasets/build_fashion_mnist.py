"""How `fashion_mnist.parquet` was made from arrays of Fashion-MNIST.

python -m components.data_prep.datasets.build_fashion_mnist FILE.npz

The file holds `x_train`, `y_train`, `x_test`, `y_test`: some of the published images, uint8 (rows, 28, 28), and the
numbers of their classes.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image

LABELS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def as_png(pixels: np.ndarray) -> bytes:
    """Return the image, uint8 (height, width), as the smallest PNG file that pillow writes."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def build(path: Path) -> pd.DataFrame:
    """Return the images of both parts with their labels; the column `split` tells them apart."""
    parts = []
    with np.load(path, allow_pickle=False) as arrays:
        for part in ("train", "test"):
            images = [as_png(pixels) for pixels in arrays[f"x_{part}"]]
            labels = [LABELS[number] for number in arrays[f"y_{part}"]]
            parts.append(pd.DataFrame({"image": images, "label": labels, "split": part}))
    frame = pd.concat(parts, ignore_index=True)
    return frame.astype({"label": pd.CategoricalDtype([*LABELS]), "split": "category"})


if __name__ == "__main__":
    target = Path(__file__).with_name("fashion_mnist.parquet")
    build(Path(sys.argv[1])).to_parquet(target, compression="zstd", index=False)
