"""The size after quantisation, against the file that ONNX Runtime's quantisation writes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_core import space as algebra
from nas_core.costs._network import batch_of, to_onnx
from nas_core.costs.size import Size
from nas_core.interfaces import SearchSpace
from nas_core.spaces.gpu_friendly import GpuFriendly
from nas_core.spaces.hierarchical import Hierarchical
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.tasks.image import Image

from .conftest import IMAGE


class _Once:
    """Calibration data: one batch."""

    def __init__(self, feed: dict[str, Any]) -> None:
        self._feeds: Iterator[dict[str, Any]] = iter([feed])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def quantised_mb(space: SearchSpace, images: Image, architecture: tuple[int, ...], folder: Path) -> float:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    CalibrationDataReader.register(_Once)
    (folder / "model.onnx").write_bytes(to_onnx(space, images, architecture, 1, "size"))
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quant_pre_process(str(folder / "model.onnx"), str(folder / "plain.onnx"), skip_symbolic_shape=True)
        quantize_static(
            str(folder / "plain.onnx"),
            str(folder / "int8.onnx"),
            _Once(batch_of(images, 1)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
    logging.disable(logging.NOTSET)
    return (folder / "int8.onnx").stat().st_size / 1e6


@pytest.mark.parametrize(
    ("space", "share"),
    [
        (NasBench201(IMAGE, channels=16, cells=2), 0.33),
        (Hierarchical(IMAGE), 0.33),
        (GpuFriendly(IMAGE), 0.01),
    ],
)
def test_it_is_near_the_real_file(space: SearchSpace, share: float, images: Image, tmp_path: Path) -> None:
    architecture = algebra.canonical(space, algebra.sample(space, np.random.default_rng(1)))
    counted = Size(space, images).measure(architecture)["model_size_mb"]
    assert counted == pytest.approx(quantised_mb(space, images, architecture, tmp_path), rel=share)


def test_a_million_weights_are_a_megabyte(images: Image) -> None:
    import torch

    class One:
        decisions = ()

        def build(self, architecture: tuple[int, ...]) -> Any:  # noqa: ARG002
            return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2000, bias=False))

    counted = Size(One(), images).measure(())["model_size_mb"]
    assert counted == pytest.approx(768 * 2000 / 1e6, rel=0.01)
