from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.sources import fingerprint, other_source, read
from components.spec import BuiltinSource, FileSource, FolderSource, LinesSource, NpzSource
from nas_core.errors import InputError


def source(path: Path | str) -> FileSource | NpzSource:
    kind = Path(path).suffix[1:]
    model = NpzSource if kind == "npz" else FileSource
    return model.model_validate({"kind": kind, "path": str(path)})


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"age": [31, 52, 47], "job": ["clerk", None, "baker"], "rate": [0.5, np.nan, -0.0]})


@pytest.mark.parametrize(
    ("name", "shape"),
    [("adult", (48842, 16)), ("breast-cancer", (569, 31)), ("digits", (1797, 65)), ("fashion-mnist", (7500, 3))],
)
def test_builtin(name: str, shape: tuple[int, int]) -> None:
    assert read(BuiltinSource(kind="builtin", name=name), Path()).shape == shape


def test_an_unknown_builtin_lists_those_there_are() -> None:
    with pytest.raises(InputError, match="adult, breast-cancer, digits, fashion-mnist; did you mean 'adult'"):
        read(BuiltinSource(kind="builtin", name="adults"), Path())


def test_csv_and_parquet_hold_the_same_table(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.astype({"job": "category", "age": "int16"}).to_parquet(tmp_path / "a.parquet", index=False)
    tables = [read(source(name), tmp_path) for name in ("a.csv", "a.parquet")]
    assert {fingerprint(table) for table in tables} == {fingerprint(frame)}


def test_values_of_a_csv_that_are_no_plain_numbers_are_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id, ok, size\n100000000000000000000, True, 1\n1, , 2\n", encoding="utf-8")
    table = read(source("a.csv"), tmp_path)
    assert table["id"].tolist() == ["100000000000000000000", "1"]
    assert table["ok"].fillna("missing").tolist() == ["True", "missing"]
    assert table["size"].tolist() == [1, 2]


def test_npz_is_a_table_with_the_column_y(data: Path) -> None:
    table = read(source(data / "elec2.npz"), Path())
    assert table.shape == (45312, 9)
    assert [*table.columns[:2], table.columns[-1]] == ["date", "day", "y"]


def test_npz_without_names_numbers_its_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.eye(2), y=np.array(["no", "yes"]))
    table = read(source("a.npz"), tmp_path)
    assert table.columns.tolist() == ["x0", "x1", "y"]
    assert table["y"].tolist() == ["no", "yes"]


def test_the_index_of_a_parquet_file_is_a_column_only_if_it_has_a_name(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame.set_index("age").to_parquet(tmp_path / "named.parquet")
    frame.iloc[::-1].to_parquet(tmp_path / "plain.parquet")
    assert "age" in read(source("named.parquet"), tmp_path)
    assert read(source("plain.parquet"), tmp_path).columns.tolist() == frame.columns.tolist()


def garbled(path: Path) -> None:
    path.write_bytes(b"%PDF-1.7 and so on")


def cut(path: Path) -> None:
    pd.DataFrame({"a": range(1000)}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-200])


def objects(path: Path) -> None:
    np.savez(path, x=np.zeros((1, 1)), y=np.array([{}], dtype=object), allow_pickle=True)


def twice(path: Path) -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), path)


def text(content: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(content, encoding="latin-1")

    return write


def stored(**values: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **values)


X = np.zeros((2, 2))
Y = np.zeros(2)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.csv", Path.absolute, "does not exist"),
        ("a.csv", Path.mkdir, "is a folder, not a file"),
        ("a.csv", text(""), "is empty"),
        ("a.csv", text("\n\n"), "does not read as CSV"),
        ("a.csv", text("a,b\n"), "has no rows"),
        ("a.csv", text("a,b,a\n1,2,3\n"), "more than one column called a"),
        ("a.csv", text("a,b\n1,2,3\n4,5,6\n"), "header that names every column"),
        ("a.csv", text("a,b\n1,2\n4,5,6\n"), "does not read as CSV"),
        ("a.csv", text("a,b\nMünchen,1\n"), "must be UTF-8"),
        ("a.parquet", garbled, "it begins with b'%PDF'"),
        ("a.parquet", cut, "does not read as Parquet"),
        ("a.parquet", twice, "more than one column called a"),
        ("a.npz", garbled, "does not read as npz"),
        ("a.npz", objects, "does not read as npz (Object arrays cannot be loaded"),
        ("a.npz", stored(x=X), "must hold the arrays x and y, found x"),
        ("a.npz", stored(x=Y, y=Y), "got (2,), (2,)"),
        ("a.npz", stored(x=X, y=Y[:1]), "got (2, 2), (1,)"),
        ("a.npz", stored(x=X, y=Y, columns=np.array(["a"])), "names 1 columns, but x has 2"),
        ("a.npz", stored(x=X, y=Y, columns=np.array(["a", "y"])), "more than one column called y"),
        ("a.npz", stored(x=X[:0], y=Y[:0]), "has no rows"),
    ],
)
def test_a_file_that_is_no_table_says_why(
    tmp_path: Path, name: str, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(InputError) as caught:
        read(source(name), tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.assign(age=[31, 52, 48]),
        lambda f: f.assign(job=["clerk", "baker", None]),
        lambda f: f.rename(columns={"age": "years"}),
        lambda f: f.assign(age=["31", "52", "47"]),
        lambda f: f.iloc[::-1],
        lambda f: f.iloc[:2],
        lambda f: f[["job", "age", "rate"]],
    ],
)
def test_another_table_has_another_fingerprint(
    frame: pd.DataFrame, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    assert fingerprint(change(frame)) != fingerprint(frame)


def test_how_a_value_is_stored_does_not_change_the_fingerprint(frame: pd.DataFrame) -> None:
    other = frame.assign(age=frame["age"].astype("Int64"), rate=[0.5, None, 0.0], job=pd.Categorical(frame["job"]))
    assert fingerprint(other) == fingerprint(frame)


def test_a_column_of_lists_has_a_fingerprint() -> None:
    assert fingerprint(pd.DataFrame({"a": [[1], None]})) != fingerprint(pd.DataFrame({"a": [[2], None]}))


def test_a_folder_of_nothing_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no rows"):
        read(FolderSource(kind="folder", path="."), tmp_path)


def test_lines_of_a_relative_pattern_start_at_the_base(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("yes of course\n", encoding="utf-8")
    assert read(LinesSource(kind="lines", path="*.txt"), tmp_path)["text"].tolist() == ["of course"]


def test_files_in_a_column_come_through_parquet_and_into_the_fingerprint(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": [b"\x89PNG one", None, b"\xff\xd8 two"], "label": ["a", "b", "a"]})
    frame.to_parquet(tmp_path / "a.parquet")
    table = read(source("a.parquet"), tmp_path)
    assert table["image"].tolist() == frame["image"].tolist()
    assert fingerprint(table) == fingerprint(frame)
    assert fingerprint(frame.assign(image=frame["image"].to_numpy()[::-1])) != fingerprint(frame)
    assert fingerprint(frame.assign(image=[b"\x89PNG one", b"", b"\xff\xd8 two"])) != fingerprint(frame)


def test_other_data_is_read_by_its_suffix_else_as_usual() -> None:
    lines = LinesSource(kind="lines", path="a", encoding="latin-1")
    assert other_source(Path("b/new"), lines) == LinesSource(kind="lines", path="b/new", encoding="latin-1")
    assert other_source(Path("b.PQ"), lines) == FileSource(kind="parquet", path="b.PQ")
    clips = NpzSource(kind="npz", path="a.npz", rate=16000)
    assert other_source(Path("b.npz"), clips) == NpzSource(kind="npz", path="b.npz", rate=16000)
    with pytest.raises(InputError, match=r"must end in \.csv, \.parquet, \.pq, \.npz, got 'b\.txt'"):
        other_source(Path("b.txt"), clips)
