"""Checkpoints of trials as folders `weights/<number>/<attempt>-<step>`, each whole or absent."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from nas_core.store import make_folder, sync_folder

_NAME = re.compile(r"([0-9]+)-([0-9]+)")


class Checkpoints:
    """What trials have saved below `root`. A checkpoint counts only if it holds `state.json`."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def newest(self, number: int) -> Path | None:
        """Return the checkpoint of trial `number` with the highest attempt, and then step; None if there is none."""
        found = self._found(number)
        return max(found)[1] if found else None

    def next_attempt(self, number: int) -> int:
        """Return the number of the attempt that begins now: 0, or one more than the newest that saved something."""
        found = self._found(number)
        return max(found)[0][0] + 1 if found else 0

    def save(self, number: int, attempt: int, step: int, write: Callable[[Path], None]) -> None:
        """Let `write` fill a new folder; when that is on disk it becomes the checkpoint, and earlier ones go.

        A process killed on the way leaves the earlier checkpoint as it was.
        """
        folder = self._folder(number)
        make_folder(folder)
        draft, final = folder / f".{attempt}-{step}", folder / f"{attempt}-{step}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        write(draft)
        _sync(draft)
        if final.exists():  # the same attempt saves the same step again
            shutil.rmtree(final)
        draft.rename(final)
        sync_folder(folder)
        for other in folder.iterdir():
            if other != final:
                shutil.rmtree(other)

    def keep(self, numbers: Collection[int]) -> None:
        """Delete the checkpoints of all trials but `numbers`."""
        folder = self._root / "weights"
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name.isdecimal() and int(path.name) not in numbers:
                shutil.rmtree(path)

    def _folder(self, number: int) -> Path:
        return self._root / "weights" / str(number)

    def _found(self, number: int) -> list[tuple[tuple[int, int], Path]]:
        folder = self._folder(number)
        named = ((_NAME.fullmatch(path.name), path) for path in (folder.iterdir() if folder.is_dir() else ()))
        return [
            ((int(match[1]), int(match[2])), path) for match, path in named if match and (path / "state.json").exists()
        ]


def _sync(folder: Path) -> None:
    """Wait until all that `folder` holds is on disk."""
    for path, _, names in os.walk(folder):
        for name in names:
            with (Path(path) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(path))
