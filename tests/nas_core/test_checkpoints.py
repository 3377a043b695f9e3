from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nas_core.checkpoints import Checkpoints
from nas_core.errors import OutsideError


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

    with pytest.raises(OutsideError, match=r"storage: cannot write a checkpoint to .*/3: disk full; check its space"):
        checkpoints.save(3, 0, 2, breaks_off)
    assert content(checkpoints.newest(3)) == "one"
    checkpoints.save(3, 0, 2, writes("two"))
    assert content(checkpoints.newest(3)) == "two"


def test_the_same_step_of_an_attempt_may_be_saved_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, 0, 1, writes("one"))
    checkpoints.save(3, 0, 1, writes("again"))
    assert content(checkpoints.newest(3)) == "again"


def test_what_went_wrong_in_the_trial_stays_the_trials(tmp_path: Path) -> None:
    def fails(_: Path) -> None:
        raise ValueError("a tensor that is not contiguous")

    with pytest.raises(ValueError, match="not contiguous"):
        Checkpoints(tmp_path).save(3, 0, 1, fails)


# ---------------------------------------------------------------- an attempt that was given up for dead and goes on


def test_an_older_attempt_neither_hides_nor_removes_what_a_newer_has_saved(tmp_path: Path) -> None:
    orphan, newer = Checkpoints(tmp_path), Checkpoints(tmp_path)
    orphan.save(3, 0, 1, writes("orphan"))
    newer.save(3, 1, 2, writes("newer"))
    for step in (2, 3, 50):
        orphan.save(3, 0, step, lambda _: pytest.fail("nothing of an older attempt is even begun"))
    assert newer.newest(3) == tmp_path / "weights" / "3" / "1-2"
    assert content(orphan.newest(3)) == "newer"
    newer.save(3, 1, 3, writes("newest"))
    assert [path.name for path in (tmp_path / "weights" / "3").iterdir()] == ["1-3"]


def test_an_older_attempt_that_is_amid_saving_hides_nothing_of_a_newer(tmp_path: Path) -> None:
    """The newer one saves while the older is writing: whichever renames last, the newer counts."""
    checkpoints = Checkpoints(tmp_path)

    def slow(folder: Path) -> None:
        Checkpoints(tmp_path).save(3, 1, 4, writes("newer"))
        folder.mkdir(parents=True, exist_ok=True)  # the newer has cleared it up
        writes("orphan")(folder)

    checkpoints.save(3, 0, 9, slow)
    assert content(checkpoints.newest(3)) == "newer"
    checkpoints.save(3, 1, 5, writes("newest"))
    assert [path.name for path in (tmp_path / "weights" / "3").iterdir()] == ["1-5"]


def test_an_attempt_begins_at_what_the_one_before_saved_last(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, 0, 7, writes("zero"))
    assert content(checkpoints.newest(3)) == "zero"
    checkpoints.save(3, 2, 1, writes("two"))
    assert content(checkpoints.newest(3)) == "two"


def test_two_attempts_at_once_leave_the_newers_last(tmp_path: Path) -> None:
    """Both save as fast as they can; the older may fail over what was cleared away, the newer never."""
    steps, start = 60, threading.Barrier(2)

    def attempt(number: int) -> None:
        checkpoints = Checkpoints(tmp_path)
        start.wait()
        for step in range(1, steps + 1):
            checkpoints.save(3, number, step, writes(f"{number}-{step}"))

    with ThreadPoolExecutor(2) as pool:
        older, newer = pool.submit(attempt, 0), pool.submit(attempt, 1)
        assert newer.exception() is None
        if (error := older.exception()) is not None:
            assert isinstance(error, OutsideError)
    assert content(Checkpoints(tmp_path).newest(3)) == f"1-{steps}"


# ---------------------------------------------------------------- which are kept


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
