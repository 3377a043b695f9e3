from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nas_core.checkpoints import Checkpoints


def writes(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "weights").mkdir()
        (folder / "weights" / "0").write_text(text)
        (folder / "state.json").write_text("{}")

    return write


def content(path: Path | None) -> str:
    assert path is not None
    return (path / "weights" / "0").read_text()


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).newest(3) is None
    assert Checkpoints(tmp_path).next_attempt(3) == 0


def test_the_newest_is_whole_and_the_only_one(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, 0, 9, writes("nine"))
    checkpoints.save(3, 0, 10, writes("ten"))
    newest = checkpoints.newest(3)
    assert newest == tmp_path / "weights" / "3" / "0-10"
    assert content(newest) == "ten"
    assert list((tmp_path / "weights" / "3").iterdir()) == [newest]


def test_a_later_attempt_counts_more_than_a_later_step(tmp_path: Path) -> None:
    folder = tmp_path / "weights" / "3"
    for name in ("0-10", "1-2", "10-1", "2-9"):
        (folder / name).mkdir(parents=True)
        (folder / name / "state.json").touch()
    assert Checkpoints(tmp_path).newest(3) == folder / "10-1"
    assert Checkpoints(tmp_path).next_attempt(3) == 11


def test_without_its_state_it_does_not_count(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, 0, 1, writes("one"))
    (tmp_path / "weights" / "3" / "0-2").mkdir()
    assert content(checkpoints.newest(3)) == "one"


def test_one_that_breaks_off_leaves_the_one_before_and_can_be_written_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, 0, 1, writes("one"))

    def breaks_off(folder: Path) -> None:
        (folder / "state.json").write_text("{}")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(3, 0, 2, breaks_off)
    assert content(checkpoints.newest(3)) == "one"
    checkpoints.save(3, 0, 2, writes("two"))
    assert content(checkpoints.newest(3)) == "two"


def test_the_same_step_of_an_attempt_may_be_saved_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, 0, 1, writes("one"))
    checkpoints.save(3, 0, 1, writes("again"))
    assert content(checkpoints.newest(3)) == "again"


def test_only_the_checkpoints_that_are_kept_are_left(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for number in (1, 2, 10):
        checkpoints.save(number, 0, 1, writes(str(number)))
    (tmp_path / "weights" / "README").touch()
    checkpoints.keep({2, 3})
    assert {path.name for path in (tmp_path / "weights").iterdir()} == {"2", "README"}
    assert content(checkpoints.newest(2)) == "2"


def test_where_nothing_was_saved_there_is_nothing_to_keep(tmp_path: Path) -> None:
    Checkpoints(tmp_path).keep({1})
    assert list(tmp_path.iterdir()) == []
