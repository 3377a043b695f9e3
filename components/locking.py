"""Waits until no other process of this machine, or of this volume, works on the same folder."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nas_core.errors import OutsideError

_SECONDS = 90
"""How long to wait: longer than a search that was told to end takes to do so."""


@contextmanager
def locked(path: Path, busy: str, note: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock at `path`; a process that was killed takes a moment to end all it had begun.

    `note` is told that there is somebody to wait for. OutsideError that begins with `busy` after 90 seconds.
    """
    with path.open("a") as lock:
        deadline = time.monotonic() + _SECONDS
        while not _lock(lock.fileno()):
            if time.monotonic() > deadline:
                raise OutsideError(f"{busy} for {_SECONDS} s; wait for it to end, or end it")
            if deadline - time.monotonic() > _SECONDS - 1:
                note("waiting for another process of this run to end")
            time.sleep(1)
        yield


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
