"""Small specs that go through every engine."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

CENSUS: dict[str, Any] = {
    "name": "census",
    "task": {
        "kind": "tabular",
        "source": {"kind": "builtin", "name": "adult"},
        "target": "income",
        "positive": ">50K",
        "drop": ["fnlwgt"],
        "sensitive": ["sex", "age"],
        "split": {"test": {"column": "split", "value": "test"}},
    },
    "search": {
        "space": {"kind": "chain", "max_depth": 2, "widths": [16, 32]},
        "strategy": {"kind": "regularized-evolution", "population": 4, "sample": 2},
        "estimator": {"kind": "training", "epochs": 1},
        "objectives": [{"metric": "accuracy", "goal": "max"}, {"metric": "params", "goal": "min", "limit": 200000}],
        "budget": {"trials": 6},
    },
    "retrain": {"seeds": 2},
    "fairness": {"bins": [{"column": "age", "edges": [30, 50]}]},
}

TUMOUR: dict[str, Any] = {
    "name": "tumour",
    "task": {"kind": "tabular", "source": {"kind": "builtin", "name": "breast-cancer"}, "target": "target"},
    "search": {
        "space": {"kind": "chain", "max_depth": 2, "widths": [8, 16]},
        "strategy": {"kind": "random"},
        "estimator": {"kind": "training", "epochs": 3},
        "objectives": [{"metric": "accuracy", "goal": "max"}],
        "budget": {"trials": 3},
        "runner": {"kind": "local"},
    },
    "retrain": {"seeds": 2},
}


def changed(spec: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `spec` with values at dotted paths replaced, or removed where the new one is None."""
    new = copy.deepcopy(spec)
    for path, value in changes.items():
        *folders, last = path.split(".")
        inner = new
        for folder in folders:
            inner = inner.setdefault(folder, {})
        if value is None:
            inner.pop(last)
        else:
            inner[last] = value
    return new


def write_spec(folder: Path, spec: dict[str, Any], **changes: Any) -> Path:
    """Write `spec`, changed at paths with `__` for dots, and return the file."""
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(changed(spec, {key.replace("__", "."): value for key, value in changes.items()})))
    return path
