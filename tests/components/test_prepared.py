from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.encoding import Column, Encoder
from components.prepared import SPLITS, Arrays, Prepared, write
from nas_core.errors import InputError
from nas_core.types import Port


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"age": [20, 30, 40], "job": ["a", None, "b"], "label": ["no", "yes", "no"]})


@pytest.fixture
def whole(frame: pd.DataFrame, tmp_path: Path) -> Prepared:
    encoder = Encoder.fit(frame, [Column("age", "numeric"), Column("job", "categorical")])
    return Prepared(tmp_path / "data", "label", ("no", "yes"), 1, ("job",), encoder)


@pytest.fixture
def arrays(whole: Prepared, frame: pd.DataFrame) -> dict[str, Arrays]:
    return {split: (whole.encoder.encode(frame), np.array([0, 1, 0])) for split in SPLITS}


def store(whole: Prepared, arrays: dict[str, Arrays], frame: pd.DataFrame) -> Prepared:
    return write(whole, arrays, dict.fromkeys(SPLITS, frame), {"rows": 3})


def test_what_is_written_is_what_is_read(whole: Prepared, arrays: dict[str, Arrays], frame: pd.DataFrame) -> None:
    written = store(whole, arrays, frame)
    read = Prepared.load(whole.folder)
    assert read == written
    assert len(read.digest) == 64
    for split in SPLITS:
        np.testing.assert_equal(read.arrays(split), arrays[split])
        pd.testing.assert_frame_equal(read.frame(split), frame)


def test_the_signature_gives_logits_of_the_classes(whole: Prepared) -> None:
    assert whole.signature.outputs == (Port(name="label", shape=(2,), classes=2),)
    assert whole.signature.inputs == whole.encoder.ports


def test_the_task_knows_the_splits_that_it_is_given(
    whole: Prepared, arrays: dict[str, Arrays], frame: pd.DataFrame
) -> None:
    task = store(whole, arrays, frame).task("train")
    assert task.rows("train") == 3
    with pytest.raises(InputError, match="unknown name 'test', expected one of train"):
        task.rows("test")


def test_the_digest_covers_arrays_and_schema(
    whole: Prepared, arrays: dict[str, Arrays], frame: pd.DataFrame, tmp_path: Path
) -> None:
    inputs, target = arrays["audit"]
    digests = {
        store(whole, arrays, frame).digest,
        store(whole, {**arrays, "audit": (inputs, 1 - target)}, frame).digest,
        store(replace(whole, positive=0), arrays, frame).digest,
        store(replace(whole, folder=tmp_path / "elsewhere"), arrays, frame).digest,
    }
    assert len(digests) == 3


def test_a_write_that_is_cut_short_leaves_no_data(
    whole: Prepared, arrays: dict[str, Arrays], frame: pd.DataFrame
) -> None:
    store(whole, arrays, frame)
    with pytest.raises(KeyError):
        store(whole, {"train": arrays["train"]}, frame)
    with pytest.raises(InputError, match=r"schema\.json is missing"):
        Prepared.load(whole.folder)


def test_an_unknown_split_is_named(whole: Prepared, arrays: dict[str, Arrays], frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="did you mean 'audit'"):
        store(whole, arrays, frame).arrays("audits")
