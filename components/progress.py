"""What a step says while it works: a file of JSON lines that whoever watches turns into bars, and plain lines.

A step runs in a process or pod of its own, where a terminal's bar would be noise in a log; so it writes facts here, and
the command line draws them. They are for who watches, not for the record: what cannot be written or read is left out.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

Kind = Literal["begin", "advance", "note", "end", "fail"]


class Event(NamedTuple):
    """One line of the file."""

    time: float
    stage: str
    kind: Kind
    data: dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """Appends events to `path`, each one whole line in one write, so that several processes may."""

    path: Path

    @property
    def size(self) -> int:
        """How many bytes of events there are: where to read on for those that come."""
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, stage: str) -> None:
        """Say that `stage` has begun."""
        self._write(stage, "begin")

    def advance(self, stage: str, done: int, total: int | None, text: str = "") -> None:
        """Say that `done` of `total` parts of `stage` are done; None: nobody knows of how many."""
        self._write(stage, "advance", done=done, total=total, text=text)

    def note(self, stage: str, text: str) -> None:
        """Say something that a person may want to know."""
        self._write(stage, "note", text=text)

    def end(self, stage: str, seconds: float) -> None:
        """Say that `stage` is done."""
        self._write(stage, "end", seconds=seconds)

    def fail(self, stage: str, code: int, message: str) -> None:
        """Say that `stage` failed, with the exit code that this means."""
        self._write(stage, "fail", code=code, message=message)

    def _write(self, stage: str, kind: Kind, **data: Any) -> None:
        line = json.dumps({"time": time.time(), "stage": stage, "kind": kind, "data": data})
        with suppress(OSError), self.path.open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())


def read_events(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """Return the events in the whole lines of `path` from byte `offset` on, and where to read on.

    A file that is missing has none.
    """
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        whole, newline, _ = file.read().rpartition(b"\n")
    events = [event for line in whole.splitlines() if (event := _event(line))]
    return events, offset + len(whole) + len(newline)


def _event(line: bytes) -> Event | None:
    """Return the event of `line`; None if it was torn by a full disk."""
    with suppress(ValueError, TypeError):
        return Event(**json.loads(line))
    return None
