"""A benchmark table as a space, and what a file must hold to be one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.spaces.table import Table
from nas_core.types import Signature

ANY = Signature(inputs=(), outputs=())


def arrays(**changed: Any) -> dict[str, Any]:
    """Six architectures: an operation and a width."""
    return {
        "architectures": np.array([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]], dtype=np.uint8),
        "decision_names": np.array(["operation", "width"]),
        "options": np.array(json.dumps([["dense", "gated"], ["8", "16", "32"]])),
        "toy/accuracy": np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.5], dtype=np.float32),
        **changed,
    }


def write(folder: Path, content: dict[str, Any]) -> str:
    path = folder / "table.npz"
    np.savez(path, **{name: array for name, array in content.items() if array is not None})
    return str(path)


def test_the_file_names_the_decisions_and_numbers_are_attributes(tmp_path: Path) -> None:
    operation, width = Table(ANY, path=write(tmp_path, arrays())).decisions
    assert (operation.name, operation.options, operation.attributes) == ("operation", ("dense", "gated"), ())
    assert (width.name, width.options, width.attributes) == ("width", ("8", "16", "32"), ((8.0,), (16.0,), (32.0,)))


def test_texts_may_be_bytes_and_rows_in_any_order(tmp_path: Path) -> None:
    content = arrays()
    changed = arrays(
        architectures=content["architectures"][::-1],
        decision_names=np.array([b"operation", b"width"]),
        options=np.array([str(content["options"]).encode()]),
    )
    spaces = [Table(ANY, path=write(tmp_path, each)) for each in (content, changed)]
    assert algebra.digest(spaces[0]) == algebra.digest(spaces[1])


def test_nas_bench_201_is_a_table_too(data: Path) -> None:
    assert algebra.size(Table(ANY, path=str(data / "nb201.npz"))) == 15_625


def test_a_table_has_no_networks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds figures and no networks, \\(0, 1\\) cannot be built; use"):
        Table(ANY, path=write(tmp_path, arrays())).build((0, 1))


ROWS = arrays()["architectures"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"architectures": ROWS[:4]}, "2 of 6 have none, such as \\(1, 1\\)"),
        ({"architectures": np.vstack([ROWS, ROWS[1:2]])}, "1 duplicates: row 6 is row 1 again, \\(0, 1\\)"),
        ({"architectures": np.add(ROWS, [[0, 1]])}, "row 2 must have an option of width from 0 to 2, got 3"),
        ({"architectures": ROWS.astype(int) - [[1, 0]]}, "row 0 must have an option of operation from 0 to 1, got -1"),
        ({"architectures": ROWS[:, :1]}, "shape \\(N, 2\\), a column per decision, got uint8 of shape \\(6, 1\\)"),
        ({"architectures": ROWS.astype(float)}, "architectures must be integers"),
        ({"architectures": None}, "must have 'architectures', this one has decision_names, options, toy/accuracy"),
        ({"options": None}, "must have 'options'"),
        ({"options": np.array("[[")}, "options must be one JSON text, a list of lists of names, got '\\[\\['"),
        ({"options": np.array('{"a": 1}')}, "options must be one JSON text"),
        ({"options": np.array('[["dense", "gated"]]')}, "options must be 2 lists, one per decision, got 1"),
        ({"options": np.array('[["dense", "dense"], ["8"]]')}, "operation needs distinct options"),
        ({"decision_names": np.array(["width", "width"])}, "must be unique"),
    ],
)
def test_a_file_that_is_no_whole_table_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = write(tmp_path, arrays(**changed))
    with pytest.raises(InputError, match=f"{path}: .*{message}"):
        Table(ANY, path=path)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing\\.npz: no such file"):
        Table(ANY, path=str(tmp_path / "nothing.npz"))


@pytest.mark.parametrize("content", [b"", b"architectures", b"PK\x03\x04"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="must be an \\.npz file of plain arrays"):
        Table(ANY, path=str(path))


def test_a_lone_array_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "table.npz").open("wb") as file:
        np.save(file, ROWS)
    with pytest.raises(InputError, match="must be an \\.npz file of plain arrays"):
        Table(ANY, path=str(tmp_path / "table.npz"))


def test_pickled_arrays_are_not_loaded(tmp_path: Path) -> None:
    path = write(tmp_path, arrays(decision_names=np.array(["operation", 7], dtype=object)))
    with pytest.raises(InputError, match="must be an \\.npz file of plain arrays"):
        Table(ANY, path=path)
