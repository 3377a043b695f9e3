from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.progress import Progress, read_events


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(tmp_path / "progress.jsonl")


def test_every_event_comes_back_as_it_was_said(progress: Progress) -> None:
    before = time.time()
    progress.begin("search")
    progress.advance("search", 1, None, "best é\n")
    progress.note("search", "MLflow is behind")
    progress.end("search", 1.5)
    progress.fail("retrain", 4, "disk full")
    events, _ = read_events(progress.path)
    assert [event[1:] for event in events] == [
        ("search", "begin", {}),
        ("search", "advance", {"done": 1, "total": None, "text": "best é\n"}),
        ("search", "note", {"text": "MLflow is behind"}),
        ("search", "end", {"seconds": 1.5}),
        ("retrain", "fail", {"code": 4, "message": "disk full"}),
    ]
    assert all(before <= event.time <= time.time() for event in events)


def test_reading_goes_on_where_it_ended(progress: Progress) -> None:
    progress.begin("search")
    _, offset = read_events(progress.path)
    assert offset == progress.size
    assert read_events(progress.path, offset) == ([], offset)
    progress.end("search", 1.0)
    events, _ = read_events(progress.path, offset)
    assert [event.kind for event in events] == ["end"]


def test_a_line_that_is_still_being_written_is_left_for_later(progress: Progress) -> None:
    progress.begin("search")
    whole = progress.path.read_bytes()
    progress.path.write_bytes(whole + whole[:20])
    events, offset = read_events(progress.path)
    assert len(events) == 1
    assert offset == len(whole)


def test_a_line_that_was_torn_costs_no_other(progress: Progress) -> None:
    """A full disk tears a line; the next event is written behind what is left of it."""
    progress.begin("drift")
    with progress.path.open("ab") as file:
        file.write(b'{"time": 1.0, "sta\n[1]\n')
    progress.begin("search")
    assert [event.stage for event in read_events(progress.path)[0]] == ["drift", "search"]


def test_without_a_file_nothing_was_said(progress: Progress) -> None:
    assert progress.size == 0
    assert read_events(progress.path) == ([], 0)


def test_what_cannot_be_written_ends_no_step(tmp_path: Path) -> None:
    Progress(tmp_path / "missing" / "progress.jsonl").begin("search")
    assert not (tmp_path / "missing").exists()


def test_processes_that_write_at_once_tear_no_line(progress: Progress) -> None:
    """Lines longer than any buffer, from four processes."""
    code = (
        "import sys; from pathlib import Path; from components.progress import Progress\n"
        "for i in range(50): Progress(Path(sys.argv[1])).note(sys.argv[2], sys.argv[2] * 20_000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, progress.path, name]) for name in "abcd"]
    assert [writer.wait() for writer in writers] == [0] * 4
    events, _ = read_events(progress.path)
    assert len(events) == 200
    assert all(event.data["text"] == event.stage * 20_000 for event in events)
