"""Checkpoints of trials as folders `weights/<number>/<attempt>-<step>`, each whole or absent.

The attempt comes from the record. A worker that was given up for dead and goes on all the same writes under an older
one, which hides and removes nothing of a newer.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from nas_core.errors import OutsideError
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

    def save(self, number: int, attempt: int, step: int, write: Callable[[Path], None]) -> None:
        """Let `write` fill a new folder; when that is on disk it becomes the checkpoint, and earlier ones go.

        A process killed on the way leaves the earlier checkpoint as it was. Nothing is saved if a later attempt has
        saved something. OutsideError if the storage refuses, which is no fault of the trial.
        """
        if any(at[0] > attempt for at, _ in self._found(number)):
            return
        try:
            self._save(self._folder(number), attempt, step, write)
        except Exception as error:
            if isinstance(error, OSError) or os.strerror(errno.ENOSPC) in str(error):  # safetensors has its own errors
                raise OutsideError(
                    f"storage: cannot write a checkpoint to {self._folder(number)}: {error}; check its space and "
                    "permissions"
                ) from error
            raise

    def _save(self, folder: Path, attempt: int, step: int, write: Callable[[Path], None]) -> None:
        make_folder(folder)
        draft, final = folder / f".{attempt}-{step}", folder / f"{attempt}-{step}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        write(draft)
        sync_tree(draft)
        if final.exists():  # the same attempt saves the same step again
            shutil.rmtree(final)
        draft.rename(final)
        sync_folder(folder)
        for other in folder.iterdir():
            match = _NAME.fullmatch(other.name.lstrip("."))
            if match and (int(match[1]), int(match[2])) < (attempt, step):
                shutil.rmtree(other, ignore_errors=True)  # two attempts may both be clearing up

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


def sync_tree(folder: Path) -> None:
    """Wait until all that `folder` holds is on disk."""
    for path, _, names in os.walk(folder):
        for name in names:
            with (Path(path) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(path))
