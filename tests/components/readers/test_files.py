from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from components.readers.files import read_folder, read_lines
from nas_core.errors import InputError


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    written(tmp_path / "q" / "train.txt", b"place  Where is it ?\r\n\r\n  time\tWhen  was it?  \nnone\n")
    written(tmp_path / "q" / "test.txt", b"\xef\xbb\xbfplace Here?\n")
    written(tmp_path / "q" / ".hidden", b"no no\n")
    written(tmp_path / "q" / "more" / "late.txt", b"time Soon?\n")
    return tmp_path / "q"


def test_a_line_is_a_label_and_a_text(questions: Path) -> None:
    table = read_lines(questions / "train.txt", "utf-8")
    assert table.columns.tolist() == ["label", "text", "file"]
    assert table.to_numpy().tolist() == [
        ["place", "Where is it ?", "train.txt"],
        ["time", "When  was it?", "train.txt"],
        ["none", "", "train.txt"],
    ]


def test_a_folder_is_all_visible_files_in_it_by_name(questions: Path) -> None:
    assert read_lines(questions, "utf-8")["file"].tolist() == ["test.txt"] + ["train.txt"] * 3


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("q/*.txt", ["test.txt", "train.txt"]),
        ("q/t*n.txt", ["train.txt"]),
        ("q/**/*.txt", ["more/late.txt", "test.txt", "train.txt"]),
        ("*/more/late.txt", ["q/more/late.txt"]),
    ],
)
def test_a_pattern_is_the_files_that_match(questions: Path, pattern: str, files: list[str]) -> None:
    assert read_lines(questions.parent / pattern, "utf-8")["file"].unique().tolist() == files


def test_a_mark_at_the_beginning_is_no_part_of_the_label(questions: Path) -> None:
    assert read_lines(questions / "test.txt", "utf-8")["label"].tolist() == ["place"]


def test_lines_in_another_encoding_are_read_in_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "ort Wo ist Köln?\x85\n".encode("latin-1"))
    assert read_lines(path, "latin-1")["text"].str.startswith("Wo ist Köln?").tolist() == [True]
    with pytest.raises(InputError, match=r"source\.encoding: line 1 of .*a\.txt is not utf-8 \(it holds 0xf6\)"):
        read_lines(path, "utf-8")


@pytest.mark.parametrize(
    ("path", "message"),
    [("gone.txt", "gone.txt does not exist"), ("q/*.csv", "matches no file"), ("empty", "matches no file")],
)
def test_texts_that_are_not_there_are_told(questions: Path, path: str, message: str) -> None:
    (questions.parent / "empty").mkdir()
    with pytest.raises(InputError, match=r"^source\.path: ") as caught:
        read_lines(questions.parent / path, "utf-8")
    assert message in str(caught.value)


def test_trec_is_read_whole(data: Path) -> None:
    table = read_lines(data / "trec", "latin-1")
    assert table["file"].value_counts().to_dict() == {"TREC.train.all": 5452, "TREC.test.all": 500}
    assert table["label"].nunique() == 6


def test_files_are_labelled_by_their_folder(tmp_path: Path) -> None:
    for name in ("dog/b.jpg", "cat/2.PNG", "cat/10.jpeg", "dog/.DS_Store", ".git/x"):
        written(tmp_path / name, name.encode())
    table = read_folder(tmp_path)
    assert table.to_numpy().tolist() == [
        [b"cat/10.jpeg", "cat", "cat/10.jpeg"],
        [b"cat/2.PNG", "cat", "cat/2.PNG"],
        [b"dog/b.jpg", "dog", "dog/b.jpg"],
    ]
    assert table.columns.tolist() == ["image", "label", "file"]


def test_wav_files_are_clips(tmp_path: Path) -> None:
    written(tmp_path / "yes" / "a.wav", b"RIFF")
    assert read_folder(tmp_path)["audio"].tolist() == [b"RIFF"]


def foreign(folder: Path) -> None:
    written(folder / "cat" / "notes.txt", b"")


def nested(folder: Path) -> None:
    written(folder / "cat" / "old" / "a.png", b"")


def loose(folder: Path) -> None:
    written(folder / "a.png", b"")


def mixed(folder: Path) -> None:
    written(folder / "cat" / "a.png", b"")
    written(folder / "cat" / "a.wav", b"")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign, "cat/notes.txt is neither a PNG, JPEG nor WAV file; convert or remove it"),
        (nested, "cat/old is neither a PNG, JPEG nor WAV file"),
        (loose, "a.png is in no folder of a label"),
        (mixed, "holds images and clips"),
        (Path.rmdir, "is no folder; it must hold a folder of files for each label"),
    ],
)
def test_folders_that_are_not_of_labels_are_told(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    (tmp_path / "files").mkdir()
    make(tmp_path / "files")
    with pytest.raises(InputError, match=r"^source\.path: ") as caught:
        read_folder(tmp_path / "files")
    assert message in str(caught.value)
