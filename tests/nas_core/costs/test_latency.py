"""Latency is of the exported network, by the clock; what cannot be exported is said to be so."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_core.costs.latency import Latency, alone, pinned
from nas_core.errors import InputError
from nas_core.failures import InfeasibleError, classify
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.tasks.image import Image
from nas_core.types import Architecture, Decision, Status


class Stacks:
    """Networks of one or of sixty convolutions."""

    decisions = (Decision(name="depth", options=("1", "60")),)

    def build(self, architecture: Architecture) -> nn.Module:
        depth = (1, 60)[architecture[0]]
        return nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(depth)], nn.Flatten(), nn.Linear(768, 4))


class Fourier(nn.Module):
    """An operation that is in no ONNX operator set."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.svdvals(x.flatten(1).reshape(len(x), 3, -1))


class Spectra(Stacks):
    def build(self, architecture: Architecture) -> nn.Module:  # noqa: ARG002
        return Fourier()


def test_more_layers_take_longer(images: Image) -> None:
    """The ratio is of work of one kind on one machine; sixty layers to one leave room for any neighbour."""
    cost = Latency(Stacks(), images, repeats=30)
    few, many = (cost.measure((option,)) for option in (0, 1))
    assert many["latency_ms"] > 3 * few["latency_ms"] > 0
    assert set(few) == set(cost.metrics)
    assert all(figures["latency_ms_spread"] >= 0 for figures in (few, many))


def test_a_batch_takes_longer_than_a_row(images: Image, cells: NasBench201) -> None:
    one, many = (Latency(cells, images, batch=batch, repeats=10).measure((3,) * 6) for batch in (1, 64))
    assert many["latency_ms"] > 2 * one["latency_ms"]


def test_what_cannot_be_exported_is_infeasible_and_names_the_operator_and_the_fix(images: Image) -> None:
    with pytest.raises(InfeasibleError) as caught:
        Latency(Spectra(), images).measure((0,))
    failure = classify(caught.value)
    assert failure.status is Status.INFEASIBLE
    assert failure.reason.startswith("build: latency cannot be measured")
    assert "linalg" in failure.reason
    assert "remove latency from search.costs" in failure.reason


def test_time_ends_the_calls(images: Image, cells: NasBench201) -> None:
    cost = Latency(cells, images, repeats=10**9, seconds=0.05, warmup=0)
    assert cost.measure((3,) * 6)["latency_ms"] > 0


def test_threads_are_pinned_and_let_go() -> None:
    before = os.sched_getaffinity(0)
    for number in range(2 * len(before)):
        with pinned(1, number):
            assert len(os.sched_getaffinity(0)) == 1
    with pinned(1000, 0):
        assert os.sched_getaffinity(0) == before
    assert os.sched_getaffinity(0) == before


def test_one_measures_at_a_time() -> None:
    """Threads here, processes as well: each opens the lock's file for itself."""
    spans: list[tuple[float, float]] = []

    def measure() -> None:
        with alone():
            began = time.monotonic()
            time.sleep(0.05)
            spans.append((began, time.monotonic()))

    threads = [Thread(target=measure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans.sort()
    assert len(spans) == 4
    assert all(ended <= began for (_, ended), (began, _) in pairwise(spans))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("threads", 0, "threads: must be >= 1, got 0"),
        ("batch", 0, "batch: must be >= 1, got 0"),
        ("repeats", 0, "repeats: must be >= 1, got 0"),
        ("warmup", -1, "warmup: must be >= 0, got -1"),
        ("seconds", 0.0, "seconds: must be > 0, got 0.0"),
    ],
)
def test_an_option_out_of_range(images: Image, cells: NasBench201, option: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Latency(cells, images, **{option: value})
