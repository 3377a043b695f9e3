"""A source of the spec -> a table in memory, or an error that says what is wrong with the file."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from components.encodings.table import text_of
from components.readers.files import read_folder, read_lines
from components.readers.npz import read_npz
from components.spec_task import BuiltinSource, FileSource, FolderSource, LinesSource, NpzSource, Source
from nas_core.errors import InputError, unknown

BUILTIN = ("adult", "breast-cancer", "digits", "fashion-mnist")
_SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".npz": "npz"}
_DATASETS = Path(__file__).parent / "data_prep" / "datasets"


def read(source: Source, base: Path) -> pd.DataFrame:
    """Return the table of `source`, rows numbered from 0; a relative path starts at `base`.

    A column may hold files, images or clips, as bytes. InputError for a file that is missing, empty or not of its kind,
    for a table without rows, and for two columns of one name.
    """
    if isinstance(source, BuiltinSource):
        return _builtin(source.name)
    path = base / Path(source.path).expanduser()
    match source:
        case LinesSource():
            frame = read_lines(path, source.encoding)
        case FolderSource():
            frame = read_folder(path)
        case _:
            frame = _read_file(source, path, base)
    names = [str(column) for column in frame.columns]
    _check_names(path, names)
    if frame.empty:
        raise InputError(f"source.path: {path} has no rows; a table needs some to learn from")
    return frame.set_axis(names, axis="columns")


def _read_file(source: FileSource | NpzSource, path: Path, base: Path) -> pd.DataFrame:
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise InputError(f"source.path: {path} {what}; a relative path starts at {base}")
    if path.stat().st_size == 0:
        raise InputError(f"source.path: {path} is empty; it must hold a {source.kind} table")
    if isinstance(source, NpzSource):
        return read_npz(path, source.rate)
    return _read_csv(path) if source.kind == "csv" else _read_parquet(path)


def other_source(path: Path, usual: Source) -> Source:
    """Return the source of other data at `path`, by its suffix, else read as the `usual` lines or folder.

    InputError if that does not say how to read it.
    """
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind == "npz":
        return NpzSource(kind="npz", path=str(path), rate=usual.rate if isinstance(usual, NpzSource) else None)
    if kind is not None:
        return FileSource.model_validate({"kind": kind, "path": str(path)})
    if isinstance(usual, LinesSource | FolderSource):
        return usual.model_copy(update={"path": str(path)})
    raise InputError(f"must end in {', '.join(_SUFFIXES)}, got {str(path)!r}")


def fingerprint(frame: pd.DataFrame) -> str:
    """Return the SHA-256, in hex, of names, kinds and values: the same for the same table in another file format."""
    total = hashlib.sha256(f"{len(frame)} rows".encode())
    for name in frame.columns:
        kind, content = _content(frame[name])
        total.update(f"{name!r} {kind} {len(content)}".encode())
        total.update(content)
    return total.hexdigest()


def _content(series: pd.Series[Any]) -> tuple[str, bytes]:
    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series):
        numbers = series.to_numpy(np.float64, na_value=np.nan) + 0.0  # -0 and 0 are one value, and so are all NaN
        return "numeric", np.where(np.isnan(numbers), np.nan, numbers).tobytes()
    values = series.astype(object).where(series.notna(), None)
    if any(isinstance(value, bytes) for value in values):
        files = (
            hashlib.sha256(value).digest() if isinstance(value, bytes) else repr(value).encode() for value in values
        )
        return "files", b"".join(files)
    codes, texts = pd.factorize(values.map(text_of))
    return "text", repr(list(texts)).encode() + codes.astype(np.int64).tobytes()


def _builtin(name: str) -> pd.DataFrame:
    if name in ("adult", "fashion-mnist"):
        return pd.read_parquet(_DATASETS / f"{name.replace('-', '_')}.parquet")
    from sklearn.datasets import load_breast_cancer, load_digits

    if name == "breast-cancer":
        bunch = load_breast_cancer(as_frame=True)
        cancer: pd.DataFrame = bunch.frame.assign(target=bunch.target_names[bunch.target])
        return cancer
    if name == "digits":
        digits: pd.DataFrame = load_digits(as_frame=True).frame
        return digits
    raise unknown("source.name", name, BUILTIN)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, skipinitialspace=True)
        _check_names(path, header.iloc[0].dropna().tolist())  # pandas would rename the second of two
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # it would cut rows that are longer than the header
            frame = pd.read_csv(path, skipinitialspace=True, low_memory=False, index_col=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError) as error:
        raise InputError(
            f"source.path: {path} does not read as CSV ({' '.join(str(error).split())}); it must be UTF-8, with commas "
            "between and a header that names every column"
        ) from error
    # true and false with gaps, integers beyond 64 bits
    mixed = [str(name) for name in frame if pd.api.types.is_object_dtype(frame[name])]
    return frame.assign(**{name: frame[name].map(text_of) for name in mixed})


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pyarrow.parquet.ParquetFile(path).read().to_pandas()
    except (pa.ArrowException, OSError) as error:
        with path.open("rb") as file:
            found = file.read(4)
        raise InputError(
            f"source.path: {path} does not read as Parquet ({str(error).splitlines()[0]}); it begins with {found!r}, "
            "a Parquet file with b'PAR1'; if it is of another kind, set source.kind"
        ) from error
    plain: pd.DataFrame = frame.reset_index(drop=frame.index.name is None)
    return plain


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"source.path: {path} has more than one column called {', '.join(twice)}; rename all but one")
