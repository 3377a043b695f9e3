"""A source of the spec -> a table in memory, or an error that says what is wrong with the file."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from components.encoding import text_of
from components.spec import BuiltinSource, FileSource
from nas_core.errors import InputError, unknown

BUILTIN = ("adult", "breast-cancer", "digits")
_ADULT = Path(__file__).parent / "data_prep" / "datasets" / "adult.parquet"


def read(source: BuiltinSource | FileSource, base: Path) -> pd.DataFrame:
    """Return the table of `source`; a relative path starts at `base`.

    An npz holds `x` (rows, columns) and `y` (rows,), which becomes the column `y`, and the names of the other columns
    in `columns` if they shall not be x0, x1 ... InputError for a file that is missing, empty or not of its kind, for
    a table without rows, and for two columns of one name.
    """
    if isinstance(source, BuiltinSource):
        return _builtin(source.name)
    path = base / Path(source.path).expanduser()
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise InputError(f"source.path: {path} {what}; a relative path starts at {base}")
    if path.stat().st_size == 0:
        raise InputError(f"source.path: {path} is empty; it must hold a {source.kind} table")
    readers = {"csv": _read_csv, "parquet": _read_parquet, "npz": _read_npz}
    frame = readers[source.kind](path)
    names = [str(column) for column in frame.columns]
    _check_names(path, names)
    if frame.empty:
        raise InputError(f"source.path: {path} has no rows; a table needs some to learn from")
    return frame.set_axis(names, axis="columns")


def fingerprint(frame: pd.DataFrame) -> str:
    """Return the SHA-256, in hex, of names, kinds and values: the same for the same table in another file format."""
    total = hashlib.sha256(f"{len(frame)} rows".encode())
    for name in frame.columns:
        series = frame[name]
        numeric = pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series)
        if numeric:
            numbers = series.to_numpy(np.float64, na_value=np.nan) + 0.0  # -0 and 0 are one value, and so are all NaN
            content = np.where(np.isnan(numbers), np.nan, numbers).tobytes()
        else:
            codes, values = pd.factorize(series.astype(object).where(series.notna(), None).map(text_of))
            content = repr(list(values)).encode() + codes.astype(np.int64).tobytes()
        total.update(f"{name!r} {'numeric' if numeric else 'text'} {len(content)}".encode())
        total.update(content)
    return total.hexdigest()


def _builtin(name: str) -> pd.DataFrame:
    if name == "adult":
        return pd.read_parquet(_ADULT)
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


def _read_npz(path: Path) -> pd.DataFrame:
    try:
        with zipfile.ZipFile(path):
            pass  # numpy would take anything that is no archive for a pickle
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in ("x", "y", "columns") if key in stored}
            keys = list(stored)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"source.path: {path} does not read as npz ({error}); save numbers with numpy.savez(path, x=..., y=...)"
        ) from error
    if "x" not in arrays or "y" not in arrays:
        raise InputError(f"source.path: {path} must hold the arrays x and y, found {', '.join(keys) or 'none'}")
    x, y = arrays["x"], arrays["y"]
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise InputError(
            f"source.path: {path} must hold x of shape (rows, columns) and y of shape (rows,), got {x.shape}, {y.shape}"
        )
    names = [_decoded(name) for name in arrays.get("columns", [f"x{i}" for i in range(x.shape[1])])]
    if len(names) != x.shape[1]:
        raise InputError(f"source.path: {path} names {len(names)} columns, but x has {x.shape[1]}")
    _check_names(path, [*names, "y"])
    return pd.DataFrame(x, columns=names).assign(y=[_decoded(v) for v in y] if y.dtype.kind in "SU" else y)


def _decoded(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"source.path: {path} has more than one column called {', '.join(twice)}; rename all but one")
