"""Energy by a meter that is a folder of files, and by a model that is judged by what was metered elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas_core.costs._rapl import Rapl
from nas_core.costs.energy import JOULES_PER_BYTE, JOULES_PER_MAC, Energy
from nas_core.errors import InputError
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.tasks.image import Image
from tests.benchmarks.hardware import energy

CELL = (3, 1, 2, 0, 4, 3)


def zone(root: Path, name: str, microjoules: int, most: int = 10_000_000) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return folder


# ---------------------------------------------------------------- the meter


def test_packages_are_added_up_and_their_parts_are_not(tmp_path: Path) -> None:
    first, second = zone(tmp_path, "intel-rapl:0", 100), zone(tmp_path, "intel-rapl:1", 500)
    inner = zone(tmp_path, "intel-rapl:0:0", 0)
    zone(tmp_path, "dtpm", 0)
    meter = Rapl(tmp_path)
    before = meter.read()
    (first / "energy_uj").write_text("1000100")
    (second / "energy_uj").write_text("500500")
    (inner / "energy_uj").write_text("900000")
    assert meter.joules_since(before) == pytest.approx(1.5)


def test_a_meter_that_began_again_at_zero(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", 9_999_000, most=10_000_000)
    meter = Rapl(tmp_path)
    before = meter.read()
    (package / "energy_uj").write_text("1000")
    assert meter.joules_since(before) == pytest.approx(0.002)


def test_a_meter_that_does_not_tell_is_none(tmp_path: Path) -> None:
    assert not Rapl(tmp_path / "nowhere")
    (zone(tmp_path, "intel-rapl:0", 0) / "energy_uj").write_text("")
    assert not Rapl(tmp_path)


def test_a_metered_network(tmp_path: Path, images: Image, cells: NasBench201) -> None:
    """The folder's meter stands still, so a million predictions take nothing."""
    zone(tmp_path, "intel-rapl:0", 77)
    cost = Energy(cells, images, seconds=0.05, powercap=tmp_path)
    assert cost.timed
    assert cost.measure(CELL) == {"energy_j": 0.0, "co2_g": 0.0}


# ---------------------------------------------------------------- the model


def test_without_a_meter_energy_is_modelled(tmp_path: Path, images: Image, cells: NasBench201) -> None:
    cost = Energy(cells, images, powercap=tmp_path)
    assert not cost.timed
    assert cost.measure(CELL) == Energy(cells, images, source="model").measure(CELL)


def test_energy_is_of_rows_and_carbon_is_of_energy(images: Image, cells: NasBench201) -> None:
    million = Energy(cells, images, source="model").measure(CELL)
    one = Energy(cells, images, source="model", rows=1, grid=1000).measure(CELL)
    assert million["energy_j"] == pytest.approx(1e6 * one["energy_j"])
    assert million["co2_g"] == pytest.approx(million["energy_j"] / 3.6e6 * 473)
    assert one["co2_g"] == pytest.approx(one["energy_j"] / 3600)


def test_weights_that_are_read_once_a_batch_cost_less_a_row(images: Image, cells: NasBench201) -> None:
    one, many = (Energy(cells, images, source="model", batch=b).measure(CELL)["energy_j"] for b in (1, 64))
    assert many < one


def test_a_byte_from_memory_costs_more_than_a_product() -> None:
    assert JOULES_PER_BYTE > 30 * JOULES_PER_MAC


def test_the_model_orders_networks_better_than_their_size(data: Path) -> None:
    """Nothing of it was fitted to these meterings, so every one of them is a test."""
    found = energy(data / "ec_nas_energy.npz", rows=40, resamples=200)
    assert found["model"]["spearman"] > 0.85
    assert found["model"]["spearman"] > found["params"]["spearman"]


@pytest.mark.slow
def test_the_model_is_provably_better_than_their_size(data: Path) -> None:
    found = energy(data / "ec_nas_energy.npz", rows=400)
    assert found["model"]["low"] > 0.82
    assert found["gain"]["low"] > 0


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "rows: must be >= 1, got 0"),
        ({"batch": 0}, "batch: must be >= 1, got 0"),
        ({"grid": -1.0}, "grid: must be >= 0 grams of CO2 a kilowatt-hour, got -1"),
        ({"seconds": 61.0}, "seconds: must be > 0 and <= 60, got 61"),
        ({"source": "rapl"}, "source: no meter of energy can be read in .*choose 'model'"),
    ],
)
def test_an_option_that_cannot_be(
    tmp_path: Path, images: Image, cells: NasBench201, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Energy(cells, images, powercap=tmp_path, **options)
