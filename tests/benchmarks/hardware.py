"""How well costs that are not measured here order architectures: predicted latencies of devices, and modelled energy.

    python tests/benchmarks/hardware.py --data DATA

DATA is a folder with `nb201.npz` and `ec_nas_energy.npz`. Every figure is a Spearman rank correlation with what was
measured, on architectures that nothing was fitted on. `--json FILE` writes them down.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from nas_core.costs._predictor import Predictor
from nas_core.costs.energy import Energy
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.types import Port, Signature
from tests.benchmarks.nas_bench_101 import EcNas, Images

IMAGE = Signature(inputs=(Port(name="image", shape=(3, 32, 32)),), outputs=(Port(name="y", shape=(10,), classes=10),))
NEAR_ZERO = {"raspi4": 0.05, "pixel3": 0.05}
"""Devices that skip cells which ignore their input; rows below this share of the median are such, and left out."""

BATCH = 256
"""Rows at a time in EC-NAS-Bench."""


def latencies(path: Path, measurements: int, draws: int, devices: Sequence[str] = ()) -> dict[str, Any]:
    """Return for each device the correlations on all cells that were not among `measurements`, drawn `draws` times."""
    space = NasBench201(IMAGE)
    with np.load(path, allow_pickle=False) as table:
        cells = [tuple(row) for row in table["ops"].tolist()]
        names = [name.decode() for name in table["latency_devices"]]
        columns = dict(zip(names, table["latency_ms"].T.astype(float), strict=True))
    return {name: _device(space, cells, columns[name], name, measurements, draws) for name in devices or names}


def _device(
    space: NasBench201,
    cells: Sequence[tuple[int, ...]],
    figures: NDArray[np.float64],
    name: str,
    measurements: int,
    draws: int,
) -> dict[str, Any]:
    usable = np.flatnonzero(figures > NEAR_ZERO.get(name, 0.0) * np.median(figures))
    found = []
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(usable)
        known, rest = order[:measurements], order[measurements:]
        predictor = Predictor(space, {cells[row]: float(figures[row]) for row in known})
        predicted = predictor.predict([cells[row] for row in rest])
        found.append(float(spearmanr(predicted, figures[rest]).statistic))
    return {"spearman": _interval(found), "cells": len(usable), "draws": found}


def energy(path: Path, rows: int | None, resamples: int = 1000) -> dict[str, Any]:
    """Return how the model of energy, and the parameter count, correlate with what training was metered to take.

    Nothing is fitted, so all architectures can be judged by, or `rows` of them. Intervals are of the bootstrap.
    """
    space = EcNas(path)
    chosen = np.arange(len(space.params))
    if rows is not None:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, rows, replace=False))
    model = Energy(space, Images(), source="model", batch=BATCH)  # type: ignore[arg-type]
    modelled = np.array([model.measure((int(row),))["energy_j"] for row in chosen])
    metered, params = space.energy_kwh[chosen], space.params[chosen]
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(chosen), size=len(chosen)) for _ in range(resamples)]
    gains = [_rho(modelled[d], metered[d]) - _rho(params[d], metered[d]) for d in draws]
    return {
        "architectures": len(chosen),
        "model": {"spearman": _rho(modelled, metered), **_quantiles([_rho(modelled[d], metered[d]) for d in draws])},
        "params": {"spearman": _rho(params, metered), **_quantiles([_rho(params[d], metered[d]) for d in draws])},
        "gain": _quantiles(gains),
    }


def _rho(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(spearmanr(a, b).statistic)


def _interval(values: Sequence[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "least": min(values), "most": max(values)}


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return {"low": float(low), "high": float(high)}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of nb201.npz and ec_nas_energy.npz")
    parser.add_argument("--measurements", type=int, default=300, help="measured cells a device")
    parser.add_argument("--draws", type=int, default=20, help="draws of these")
    parser.add_argument("--devices", nargs="*", default=(), help="default: all")
    parser.add_argument("--rows", type=int, help="architectures that energy is judged on; default: all")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(argv)
    found = {
        "latency": latencies(given.data / "nb201.npz", given.measurements, given.draws, given.devices),
        "energy": energy(given.data / "ec_nas_energy.npz", given.rows),
        "settings": {"measurements": given.measurements, "draws": given.draws},
    }
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    else:
        _show(found)
    return found


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("device", "Spearman, median", "least", "most", title="Predicted latency")
    for name, each in found["latency"].items():
        table.add_row(name, *(f"{each['spearman'][key]:.4f}" for key in ("median", "least", "most")))
    Console().print(table)
    table = Table("", "Spearman", "95 % interval", title=f"Energy of {found['energy']['architectures']} networks")
    for name in ("model", "params"):
        each = found["energy"][name]
        table.add_row(name, f"{each['spearman']:.4f}", f"{each['low']:.4f} to {each['high']:.4f}")
    Console().print(table)


if __name__ == "__main__":
    main()
