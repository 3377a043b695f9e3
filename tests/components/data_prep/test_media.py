"""Images, texts and clips, prepared."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from pydantic import TypeAdapter

from components.data_prep.stage import prepare
from components.prepared import SPLITS, Prepared
from components.profile import Profile
from components.spec import TaskSpec
from nas_core.errors import InputError
from nas_core.types import Port

SPLIT = {"validation": 0.2, "audit": 0.2, "test": 0.2}


def task(kind: str, **values: Any) -> Any:
    given = {"kind": kind, "target": "label", "split": SPLIT, **values}
    return TypeAdapter(TaskSpec).validate_json(json.dumps(given))


def picture(width: int, level: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(np.full((4, width), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pictures() -> pd.DataFrame:
    levels = np.random.default_rng(0).integers(0, 256, 60)
    return pd.DataFrame(
        {
            "image": [picture(6, int(level)) for level in levels],
            "label": np.where(levels > 127, "light", "dark"),
            "camera": ["old", "new"] * 30,
        }
    )


def prepared(table: pd.DataFrame, folder: Path, kind: str = "image", **values: Any) -> tuple[dict[str, Any], Prepared]:
    table.to_parquet(folder / "table.parquet")
    source = {"kind": "parquet", "path": "table.parquet"}
    result = prepare(task(kind, source=source, **values), 0, folder, folder / "out")
    return result, Prepared.load(folder / "out")


def test_of_a_table_with_images_the_image_alone_is_an_input(pictures: pd.DataFrame, tmp_path: Path) -> None:
    result, whole = prepared(pictures, tmp_path, sensitive=["camera"])
    assert whole.kind == "image"
    assert whole.signature.inputs == (Port(name="image", shape=(1, 4, 6)),)
    assert result["columns"] == [{"name": "image", "kind": "image", "missing": 0}]
    assert {*whole.frame("audit")} == {"image", "camera", "label"}


def test_arrays_and_frames_of_a_split_are_the_same_rows(pictures: pd.DataFrame, tmp_path: Path) -> None:
    _, whole = prepared(pictures, tmp_path)
    for split in SPLITS:
        (images,), target = whole.arrays(split)
        np.testing.assert_array_equal(images, whole.encoder.encode(whole.frame(split))[0])
        assert [whole.classes[i] for i in target] == whole.frame(split)["label"].tolist()


def test_the_task_of_the_data_is_of_its_kind(pictures: pd.DataFrame, tmp_path: Path) -> None:
    _, whole = prepared(pictures, tmp_path)
    assert type(whole.task("train")).__name__ == "Image"


def test_the_spec_decides_size_and_channels(pictures: pd.DataFrame, tmp_path: Path) -> None:
    _, whole = prepared(pictures, tmp_path, size=8, channels=3)
    assert whole.signature.inputs[0].shape == (3, 8, 8)


def test_another_column_may_hold_the_images(pictures: pd.DataFrame, tmp_path: Path) -> None:
    _, whole = prepared(pictures.rename(columns={"image": "photo"}), tmp_path, column="photo")
    assert whole.signature.inputs[0].name == "photo"


def test_only_training_rows_shape_encoder_and_profile(pictures: pd.DataFrame, tmp_path: Path) -> None:
    _, before = prepared(pictures, tmp_path)
    seen = before.frame("train")["image"]
    profile = Profile.load(before.profile_path)
    white = pictures.assign(image=pictures["image"].where(pictures["image"].isin(seen), picture(6, 255)))
    _, after = prepared(white, tmp_path)
    assert after.encoder == before.encoder
    assert Profile.load(after.profile_path) == profile


def test_texts_of_trec_are_indices_of_known_words(data: Path, tmp_path: Path) -> None:
    given = task(
        "text",
        source={"kind": "lines", "path": str(data / "trec"), "encoding": "latin-1"},
        split={**SPLIT, "test": {"column": "file", "value": "TREC.test.all"}},
        vocabulary=4000,
        length=24,
    )
    result = prepare(given, 0, Path(), tmp_path)
    whole = Prepared.load(tmp_path)
    [port] = whole.signature.inputs
    assert (port.name, port.shape, port.dtype) == ("text", (24,), "int64")
    assert 2000 < port.classes <= 4002
    assert result["rows"]["test"] == 500
    known = whole.arrays("test")[0][0]
    assert 0.05 < (known == 1).sum() / (known > 0).sum() < 0.25


def test_spoken_digits_are_waves_and_speakers_stay_in_the_frame(data: Path, tmp_path: Path) -> None:
    source = {"kind": "npz", "path": str(data / "fsdd_small.npz")}
    prepare(task("audio", source=source, sensitive=["speaker"], seconds=0.5), 0, Path(), tmp_path)
    whole = Prepared.load(tmp_path)
    assert whole.signature.inputs == (Port(name="audio", shape=(4000,)),)
    (waves,), _ = whole.arrays("audit")
    assert 0.1 < np.abs(waves).max() <= 1
    assert whole.frame("audit")["speaker"].nunique() == 6
    assert "audio.loudness" in Profile.load(whole.profile_path).numeric


def broken(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(image=frame["image"].where(frame.index != 7, b"\x89PNG and no more"))


def named(frame: pd.DataFrame) -> pd.DataFrame:
    return broken(frame).assign(file=[f"{i}.png" for i in frame.index])


def after_a_gap(frame: pd.DataFrame) -> pd.DataFrame:
    return broken(frame).assign(label=frame["label"].where(frame.index != 3))


def missing(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(image=frame["image"].where(frame.index != 7))


def unequal(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(image=[picture(6 + i % 2, 9) for i in range(60)])


def paths(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(image=[f"{i}.png" for i in range(60)])


def one_class(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(label="dark")


@pytest.mark.parametrize(
    ("change", "kind", "values", "message"),
    [
        (broken, "image", {}, "column 'image', row 7: no PNG or JPEG image"),
        (named, "image", {}, "column 'image', row 7 (7.png): no PNG or JPEG image"),
        (after_a_gap, "image", {}, "column 'image', row 7: no PNG or JPEG image"),
        (missing, "image", {}, "column 'image', row 7: the image is missing; remove the row"),
        (unequal, "image", {}, "set task.size"),
        (paths, "image", {}, "expected the bytes of a PNG or JPEG file, got str"),
        (one_class, "image", {}, "'label' has one class, 'dark'"),
        (pd.DataFrame.copy, "image", {"column": "photo"}, "task.column: unknown name 'photo', expected one of camera"),
        (pd.DataFrame.copy, "image", {"column": "label"}, "task.column: 'label' is the target"),
        (pd.DataFrame.copy, "text", {"column": "image"}, "column 'image', row "),
        (pd.DataFrame.copy, "audio", {"column": "image"}, "no WAV file of PCM samples"),
        (lambda f: f.assign(text=" ?"), "text", {}, "column 'text': no training row has a word in it"),
        (pd.DataFrame.copy, "tabular", {}, "column 'image': holds bytes, neither numbers nor text"),
        (pd.DataFrame.copy, "tabular", {}, "files are for task.kind image or audio"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused_and_nothing_is_written(
    pictures: pd.DataFrame,
    tmp_path: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    kind: str,
    values: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(InputError) as caught:
        prepared(change(pictures), tmp_path, kind, **values)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()
