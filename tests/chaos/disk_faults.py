"""The disk that holds the record is full."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas_core.errors import OutsideError
from nas_core.store import FolderStore
from tests.chaos.driver import OBJECTIVES, SIGNER, TRIALS, search
from tests.chaos.judge import Verdict, judge, same

_KILOBYTES = 1000


def can_mount(folder: Path) -> bool:
    """Tell whether this process may mount a small filesystem below `folder`."""
    try:
        with small_disk(folder / "probe", 256):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Give a filesystem of a bounded size at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={kilobytes}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True, capture_output=True)


def disk_full(folder: Path, seed: int) -> Verdict:
    """Let the disk fill up in mid-search, again and again; free a little, and go on, until the search is over."""
    peace, verdict, rng = folder / "peace", Verdict("disk full"), random.Random(seed)
    search(peace)
    with small_disk(folder / "disk", _KILOBYTES) as disk:
        ballast, hurt, refused = disk / "ballast", disk / "run", 0
        ballast.write_bytes(b"\0" * _KILOBYTES * 1000)
        while ballast.stat().st_size:
            os.truncate(ballast, max(0, ballast.stat().st_size - rng.randrange(30_000, 130_000)))
            try:
                search(hurt)
            except OutsideError as error:
                assert "No space left on device" in str(error), error  # noqa: PT017
                refused += 1
            else:
                break
        verdict.add(judge(verdict.name, FolderStore(hurt), TRIALS, key=SIGNER.fingerprint))
        alike = same(FolderStore(hurt), FolderStore(peace), OBJECTIVES)
        verdict.lost += not alike
    assert refused > 1, "the disk was never full"
    return verdict
