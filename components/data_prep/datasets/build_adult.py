"""How `adult.parquet` was made from the files of the UCI repository.

python -m components.data_prep.datasets.build_adult FOLDER_OF_RAW_FILES
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

NUMERIC = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
)


def read_raw(path: Path, *, skip: int = 0) -> pd.DataFrame:
    """Read `adult.data` or `adult.test`: `?` becomes missing, and `>50K.` is `>50K`."""
    kinds = {column: "int32" if column in NUMERIC else "str" for column in COLUMNS}
    frame = pd.read_csv(
        path, names=list(COLUMNS), dtype=kinds, na_values="?", skipinitialspace=True, skiprows=skip, encoding="ascii"
    )
    return frame.assign(income=frame["income"].str.removesuffix("."))


def build(folder: Path) -> pd.DataFrame:
    """Return all 48,842 rows of `folder`; the column `split` tells the training file's from the test file's."""
    train = read_raw(folder / "adult.data").assign(split="train")
    test = read_raw(folder / "adult.test", skip=1).assign(split="test")  # its first line is a remark
    frame = pd.concat([train, test], ignore_index=True)
    return frame.astype({column: "category" for column in frame if column not in NUMERIC})


if __name__ == "__main__":
    build(Path(sys.argv[1])).to_parquet(Path(__file__).with_name("adult.parquet"), compression="zstd", index=False)
