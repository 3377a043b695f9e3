from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.champion import champion, incumbent, promote
from nas_core.errors import FencedError, IntegrityError

PROMOTE_FOR_EVER = """
import sys
from pathlib import Path
from components.champion import champion, promote
folder = Path(sys.argv[1])
while True:
    current = champion(folder)
    number = int(current.digest) + 1 if current else 0
    promote(folder, str(number), f"run-{number}", current and current.digest)
    print(number, flush=True)
"""


def test_at_first_there_is_no_champion(tmp_path: Path) -> None:
    assert champion(tmp_path / "none") is None
    assert incumbent(tmp_path / "none", "run-1") is None


def test_a_promoted_bundle_is_the_champion(tmp_path: Path) -> None:
    pointer = promote(tmp_path, "aaa", "run-1", None)
    assert champion(tmp_path) == pointer
    assert (pointer.digest, pointer.run, pointer.previous) == ("aaa", "run-1", None)


def test_the_pointer_remembers_the_champion_before(tmp_path: Path) -> None:
    promote(tmp_path, "aaa", "run-1", None)
    assert promote(tmp_path, "bbb", "run-2", "aaa").previous == "aaa"


def test_a_run_that_promoted_already_has_to_beat_the_champion_before(tmp_path: Path) -> None:
    promote(tmp_path, "aaa", "run-1", None)
    promote(tmp_path, "bbb", "run-2", "aaa")
    assert incumbent(tmp_path, "run-2") == "aaa"
    assert incumbent(tmp_path, "run-3") == "bbb"
    assert promote(tmp_path, "bbb", "run-2", "aaa").previous == "aaa"


def test_a_comparison_with_a_champion_of_the_past_is_refused(tmp_path: Path) -> None:
    promote(tmp_path, "aaa", "run-1", None)
    with pytest.raises(FencedError, match="another run promoted aaa in the meantime"):
        promote(tmp_path, "bbb", "run-2", None)
    current = champion(tmp_path)
    assert current is not None
    assert current.digest == "aaa"


def test_a_promotion_that_cannot_be_recorded_does_not_happen(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        promote(tmp_path, "aaa", "run-1", None, before=fail)
    assert champion(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": "aaa"}'])
def test_a_damaged_pointer_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "champion.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"champion\.json: not a champion's pointer"):
        champion(tmp_path)


def test_a_killed_promotion_leaves_the_old_champion_or_the_new_one(tmp_path: Path) -> None:
    told = -1
    for attempt in range(5):
        command = [sys.executable, "-c", PROMOTE_FOR_EVER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(0.003 * attempt)
            process.kill()
            told = int([first, *process.stdout.read().splitlines()][-1])
        current = champion(tmp_path)
        assert current is not None
        assert int(current.digest) in {told, told + 1}
