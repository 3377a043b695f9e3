from __future__ import annotations

from pathlib import Path

from components.data_prep.datasets.build_adult import build
from components.sources import read
from components.spec import BuiltinSource


def test_the_file_that_ships_is_what_the_script_makes(data: Path) -> None:
    shipped = read(BuiltinSource(kind="builtin", name="adult"), Path())
    assert shipped.equals(build(data / "adult"))


def test_rows_labels_and_missing_values_are_as_documented() -> None:
    adult = read(BuiltinSource(kind="builtin", name="adult"), Path())
    assert adult["split"].value_counts().to_dict() == {"train": 32_561, "test": 16_281}
    assert adult["income"].value_counts().to_dict() == {"<=50K": 37_155, ">50K": 11_687}
    missing = adult.isna().sum()
    assert missing[missing > 0].to_dict() == {"workclass": 2799, "occupation": 2809, "native-country": 857}
