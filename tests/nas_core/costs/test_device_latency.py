"""Latencies from a file: looked up, predicted, and refused where the file is not what it must be."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from nas_core import space as algebra
from nas_core.costs._predictor import Predictor
from nas_core.costs.device_latency import DeviceLatency
from nas_core.errors import InputError
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.types import Architecture, Decision
from tests.benchmarks.hardware import IMAGE, latencies


class Chain:
    """One or two layers of a width each: the second layer's width exists only if there is one."""

    decisions = (
        Decision(name="depth", options=("1", "2")),
        Decision(name="width_1", options=("8", "16", "32", "64"), attributes=((8.0,), (16.0,), (32.0,), (64.0,))),
        Decision(
            name="width_2",
            options=("8", "16", "32", "64"),
            attributes=((8.0,), (16.0,), (32.0,), (64.0,)),
            active_if=((0, frozenset({1})),),
        ),
    )

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


def true_ms(architecture: Architecture) -> float:
    """A product of widths, as matrix products take."""
    depth, first, second = architecture
    widths = (8, 16, 32, 64)
    return 1 + 0.01 * widths[first] + (0.002 * widths[first] * widths[second] if depth else 0.0)


def measured(path: Path, rows: Sequence[Architecture], figures: Sequence[Any] | None = None) -> Path:
    """Write a file with a column a decision; nothing stands where a decision is inactive."""
    space = Chain()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(d.name for d in space.decisions), "board", "latency_ms"])
        for i, row in enumerate(rows):
            told = algebra.describe(space, row)
            figure = figures[i] if figures else true_ms(row)
            writer.writerow([*(told.get(d.name, "") for d in space.decisions), "b", figure])
    return path


ALL = list(algebra.architectures(Chain()))


def cost(path: Path, **options: Any) -> DeviceLatency:
    return DeviceLatency(Chain(), None, csv=path, **options)  # type: ignore[arg-type]


def test_what_was_measured_is_looked_up_and_named_after_the_device(tmp_path: Path) -> None:
    pi = cost(measured(tmp_path / "m.csv", ALL), device="raspi4")
    assert pi.metrics == ("latency_ms/raspi4",)
    assert all(pi.measure(a) == {"latency_ms/raspi4": pytest.approx(true_ms(a))} for a in ALL)


def test_the_median_of_several_measurements_counts(tmp_path: Path) -> None:
    rows = [*ALL, ALL[0], ALL[0]]
    figures = [*map(true_ms, ALL), 5.0, 900.0]
    assert cost(measured(tmp_path / "m.csv", rows, figures)).measure(ALL[0]) == {"latency_ms/device": 5.0}


def test_what_was_not_measured_is_predicted(tmp_path: Path) -> None:
    """Products of widths are no sum of effects: the pairwise terms are what finds them."""
    known = [a for i, a in enumerate(ALL) if i % 4]
    predictor = cost(measured(tmp_path / "m.csv", known))
    unknown = [a for i, a in enumerate(ALL) if not i % 4]
    assert unknown
    found = [predictor.measure(a)["latency_ms/device"] for a in unknown]
    assert found == pytest.approx([true_ms(a) for a in unknown], rel=0.35)
    assert all(np.isfinite(found))


def test_a_twin_s_figure_stands_in_the_least_of_several(tmp_path: Path) -> None:
    space = NasBench201(IMAGE)
    rows = [(i % 5, i // 5 % 5, 3, 2, 1, 4) for i in range(12)]
    dead, more_dead = (0, 3, 0, 0, 3, 2), (0, 3, 0, 0, 1, 2)  # edge 1->3 leads on from nothing
    path = tmp_path / "cells.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["architecture", "latency_ms"])
        writer.writerows([[space.to_string(row), 10 + i] for i, row in enumerate(rows)])
        writer.writerows([[space.to_string(dead), 3.0], [space.to_string(more_dead), 2.0]])
    found = DeviceLatency(space, None, csv=path)  # type: ignore[arg-type]
    assert found.measure(space.canonical(dead)) == {"latency_ms/device": 2.0}
    assert found.measure(dead) == {"latency_ms/device": 3.0}


def test_indices_will_do_for_an_architecture(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    lines = [f'"{list(a)}",{true_ms(a)}' for a in ALL]
    path.write_text("architecture,latency_ms\n" + "\n".join(lines), encoding="utf-8")
    assert cost(path).measure(ALL[3]) == {"latency_ms/device": pytest.approx(true_ms(ALL[3]))}


def test_it_goes_to_other_processes(tmp_path: Path) -> None:
    known = cost(measured(tmp_path / "m.csv", ALL[1:]))
    before = known.measure(ALL[0])
    assert pickle.loads(pickle.dumps(known)).measure(ALL[0]) == before  # noqa: S301  Ray's way, of ours


# ---------------------------------------------------------------- files that are not whole


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("", "latency_ms is missing; measure it again, or remove the row"),
        ("-3", "latency_ms must be finite and > 0, got -3"),
        ("0", "latency_ms must be finite and > 0, got 0"),
        ("nan", "latency_ms must be finite and > 0, got nan"),
        ("inf", "latency_ms must be finite and > 0, got inf"),
        ("fast", "latency_ms must be a number, got 'fast'"),
    ],
)
def test_a_figure_that_is_none_is_named_by_its_line(tmp_path: Path, figure: str, message: str) -> None:
    figures = [*map(true_ms, ALL)]
    figures[4] = figure  # type: ignore[call-overload]
    with pytest.raises(InputError, match=f"^csv: .*m.csv: line 6: {message}"):
        cost(measured(tmp_path / "m.csv", ALL, figures))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth,width_1,latency_ms\n1,8,3", "must have a column for each decision.*add width_2"),
        ("depth,width_1,width_2,ms\n1,8,,3", "column: unknown name 'latency_ms', expected one of depth, ms"),
        ("depth,width_1,width_2,latency_ms\n1,9,,3", "line 2: width_1: unknown name '9', expected one of 16, 32"),
        ("depth,width_1,width_2,latency_ms\n2,8,,3", "line 2: width_2: unknown name '', expected one of"),
        ('architecture,latency_ms\n"[0,9,0]",3', "line 2: architecture.width_1: must be an int from 0 to 3"),
        ("architecture,latency_ms\n0 1 0,3", r"line 2: architecture: must be a list of option indices such as \[0"),
        ("depth,width_1,width_2,latency_ms\n1,8,,3", "must hold 10 architectures or more, got 1; measure more"),
        ("", "must have a column for each decision"),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        cost(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^csv: must name a file of measurements"):
        DeviceLatency(Chain(), None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^csv: .*gone.csv: cannot be read as CSV"):
        cost(tmp_path / "gone.csv")


# ---------------------------------------------------------------- real devices


@pytest.mark.parametrize(
    ("device", "least"), [("gold_6226", 0.97), ("titan_rtx_256", 0.97), ("fpga", 0.97), ("eyeriss", 0.97)]
)
def test_300_measurements_order_all_cells_on_a_device(data: Path, device: str, least: float) -> None:
    found = latencies(data / "nb201.npz", 300, 2, [device])
    assert found[device]["spearman"]["least"] > least


@pytest.mark.parametrize("device", ["raspi4", "pixel3"])
def test_300_measurements_order_all_cells_on_a_phone(data: Path, device: str) -> None:
    """Without the rows near zero, which are cells that ignore their input, and that phones skip."""
    found = latencies(data / "nb201.npz", 300, 2, [device])
    assert found[device]["cells"] < 15_625
    assert found[device]["spearman"]["least"] > 0.93


def test_the_predictor_s_own_error_is_that_on_others(data: Path) -> None:
    """Leave-one-out, in closed form, against rows that it has not seen."""
    with np.load(data / "nb201.npz", allow_pickle=False) as table:
        cells = [tuple(row) for row in table["ops"].tolist()]
        figures = table["latency_ms"][:, 2].astype(float)
    order = np.random.default_rng(5).permutation(len(cells))
    known, rest = order[:300], order[300:2300]
    predictor = Predictor(NasBench201(IMAGE), {cells[i]: figures[i] for i in known})
    off = predictor.predict([cells[i] for i in rest]) - figures[rest]
    assert np.sqrt(np.mean(off**2)) == pytest.approx(predictor.error, rel=0.25)
    assert spearmanr(predictor.predict([cells[i] for i in known]), figures[known]).statistic > 0.98
