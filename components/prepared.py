"""What data preparation leaves behind: a folder that every later stage reads and none changes.

schema.json                  kind, target, classes, sensitive columns, rows, digest; written last: the folder is whole
encoder.json  profile.json   how a raw row becomes arrays; what the training rows looked like
<split>.npz                  `input_0`, `input_1` ... in port order, and `target`
<split>.parquet              the same rows, raw
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.encoding import Encoder
from nas_core import registry
from nas_core.errors import InputError, unknown
from nas_core.types import Port, Signature

if TYPE_CHECKING:
    import pandas as pd

    from nas_core.interfaces import Task

SPLITS = ("train", "validation", "test", "audit")
Arrays = tuple[tuple[np.ndarray, ...], np.ndarray]
"""Inputs in port order, and the index of each row's class, int64 (rows,)."""


@dataclass(frozen=True)
class Prepared:
    """A prepared data set.

    `kind` is the kind of task; `positive` is the index of the favourable class, if there is one; `digest` the sha256
    over schema, encoder and arrays. Splits are train, validation, test and audit; the search is given the first two
    only.
    """

    folder: Path
    target: str
    classes: tuple[str, ...]
    positive: int | None
    sensitive: tuple[str, ...]
    encoder: Encoder
    digest: str = ""
    kind: str = "tabular"

    @classmethod
    def load(cls, folder: Path) -> Prepared:
        """Open `folder`; InputError if it holds no whole prepared data."""
        schema_path = folder / "schema.json"
        if not schema_path.is_file():
            raise InputError(f"{folder}: no prepared data (schema.json is missing); run data preparation first")
        schema = json.loads(schema_path.read_text(encoding="utf-8"))
        return cls(
            folder=folder,
            target=schema["target"],
            classes=tuple(schema["classes"]),
            positive=schema["positive"],
            sensitive=tuple(schema["sensitive"]),
            encoder=Encoder.from_json(json.loads((folder / "encoder.json").read_text(encoding="utf-8"))),
            digest=schema["digest"],
            kind=schema["kind"],
        )

    @cached_property
    def signature(self) -> Signature:
        """What a model of this data has to take and give: logits (rows, classes)."""
        count = len(self.classes)
        return Signature(inputs=self.encoder.ports, outputs=(Port(name=self.target, shape=(count,), classes=count),))

    @property
    def profile_path(self) -> Path:
        """The reference that drift is measured against."""
        return self.folder / "profile.json"

    def arrays(self, split: str) -> Arrays:
        """Read the encoded rows of `split`."""
        with np.load(self._path(split, "npz"), allow_pickle=False) as stored:
            return tuple(stored[f"input_{i}"] for i in range(len(stored.files) - 1)), stored["target"]

    def task(self, *splits: str, **augmentation: Any) -> Task:
        """Return the task that knows these splits, and no other; `augmentation` are options of its kind."""
        arrays = {split: self.arrays(split) for split in splits}
        task: Task = registry.load("tasks", self.kind)(self.signature, arrays, **augmentation)
        return task

    def frame(self, split: str) -> pd.DataFrame:
        """Read the raw rows of `split`: the inputs, the sensitive columns and the target, in the arrays' order."""
        import pandas as pd

        return pd.read_parquet(self._path(split, "parquet"))

    def _path(self, split: str, suffix: str) -> Path:
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        return self.folder / f"{split}.{suffix}"


def write(
    prepared: Prepared, arrays: Mapping[str, Arrays], frames: Mapping[str, pd.DataFrame], profile: Mapping[str, Any]
) -> Prepared:
    """Write a data set into `prepared.folder` and return it with its digest; `schema.json` comes last."""
    folder = prepared.folder
    folder.mkdir(parents=True, exist_ok=True)
    schema_path = folder / "schema.json"
    schema_path.unlink(missing_ok=True)
    for split in SPLITS:
        inputs, target = arrays[split]
        named = {f"input_{i}": array for i, array in enumerate(inputs)}
        np.savez(folder / f"{split}.npz", allow_pickle=False, target=target, **named)
        frames[split].to_parquet(folder / f"{split}.parquet", index=False)
    _write_json(folder / "encoder.json", prepared.encoder.to_json())
    _write_json(folder / "profile.json", profile)
    schema = {
        "kind": prepared.kind,
        "target": prepared.target,
        "classes": list(prepared.classes),
        "positive": prepared.positive,
        "sensitive": list(prepared.sensitive),
        "columns": [list(column) for column in prepared.encoder.columns],
        "rows": {split: len(arrays[split][1]) for split in SPLITS},
    }
    digest = _digest({"schema": schema, "encoder": prepared.encoder.to_json()}, arrays)
    _write_json(schema_path.with_suffix(".part"), {**schema, "digest": digest})
    schema_path.with_suffix(".part").replace(schema_path)
    return replace(prepared, digest=digest)


def _digest(head: Mapping[str, Any], arrays: Mapping[str, Arrays]) -> str:
    total = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for split in SPLITS:
        inputs, target = arrays[split]
        for array in (*inputs, target):
            total.update(f"{split} {array.dtype.str} {array.shape}".encode())
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
