"""Makes `table.npz`, a small generic benchmark table of made-up figures: `python tests/conformance/make_table.py`."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np

OPTIONS = {
    "operation": ["dense", "gated", "skip"],
    "width": ["8", "16", "32", "64", "128"],
    "activation": ["relu", "gelu", "tanh"],
}

if __name__ == "__main__":
    rows = np.array(list(product(*map(range, map(len, OPTIONS.values())))), dtype=np.uint8)
    operation, width, activation = rows.T.astype(float)
    accuracy = 0.7 + 0.04 * width - 0.006 * width**2 + 0.03 * (operation == 1) + 0.01 * np.cos(activation + width)
    np.savez_compressed(
        Path(__file__).with_name("table.npz"),
        architectures=rows,
        decision_names=np.array(list(OPTIONS)),
        options=np.array(json.dumps(list(OPTIONS.values()))),
        **{
            "toy/accuracy": accuracy.astype(np.float32),
            "toy/test_accuracy": (accuracy - 0.01 * np.sin(operation + 2 * activation)).astype(np.float32),
            "toy/latency_ms": (0.1 + 0.05 * 2**width * (operation != 2)).astype(np.float32),
        },
    )
