"""What a run's folder needs before and after work: nothing where it is the run, much where it is a working folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from components.backends.store_checkpoints import StoreCheckpoints
from components.root import Root
from components.transfer import Files, Transfer, readable, recorded
from nas_core import segments
from nas_core.errors import FencedError
from nas_core.ledger import Ledger
from nas_core.store import FolderStore


def kept(place: Root, run_id: str) -> Kept:
    """Return what keeps the folder of the run `run_id`."""
    return (KeptInStore if place.remote else Kept)(place, run_id)


class Kept:
    """A run that is a folder: all of it is there, and no other process has it."""

    def __init__(self, place: Root, run_id: str) -> None:
        self._place, self._run = place, run_id
        self.folder = place.folder / run_id

    @property
    def place(self) -> str:
        """Where the run is, for people."""
        return f"{self._place.uri}/{self._run}" if self._place.remote else str(self.folder)

    def make(self, stage: str) -> Path:
        """Return the folder that a stage is about to write to."""
        out = self.folder / stage
        out.mkdir(exist_ok=True)
        return out

    def fetch(self, stages: Iterable[str] | None = None) -> None:
        """Bring the recorded files of `stages`, or of all and the report, into the folder.

        IntegrityError if one is not any more what the ledger says.
        """

    def fetch_ledger(self) -> None:
        """Bring the ledger into the folder, for those who read it there."""

    def send(self, found: Files) -> None:
        """Keep files that are going to be on record, by their paths in the run's folder."""

    def checkout(self) -> Path:
        """Make the folder what is kept, as far as the ledger speaks of it, and return it.

        Nothing is checked: that is for those who look for what was changed, and who find it there then.
        """
        return self.folder

    def checkpoints(self, stage: str) -> Callable[[], StoreCheckpoints] | None:  # noqa: ARG002  the others need it
        """Return what opens the checkpoints of trials in a worker, None where they are files of the stage's folder."""
        return None

    def overtaken(self, error: FencedError) -> None:
        """Remember that another process has taken the run over."""

    def forget(self) -> None:
        """Forget that: this process takes it over in turn."""

    def check(self) -> None:
        """Raise FencedError if the run was taken over: who was overtaken must not close what another works on.

        In a folder the other one holds the lock meanwhile, and nobody gets here.
        """


class KeptInStore(Kept):
    """A run that is in a store. Its working folder may be empty, or have what an earlier process left there."""

    def __init__(self, place: Root, run_id: str) -> None:
        super().__init__(place, run_id)
        self._store = place.store(run_id)
        self._transfer = Transfer(self._store, self.folder)
        self._mark = self.folder / ".overtaken"

    def make(self, stage: str) -> Path:
        """Return an empty folder: what an earlier try left here, a pod that tries again does not have."""
        shutil.rmtree(self.folder / stage, ignore_errors=True)
        return super().make(stage)

    def fetch(self, stages: Iterable[str] | None = None) -> None:
        """Bring the recorded files into the folder."""
        self._transfer.fetch(recorded(Ledger(self._store).entries(), stages))

    def fetch_ledger(self) -> None:
        """Bring the ledger into the folder."""
        self._transfer.mirror_ledger()

    def send(self, found: Files) -> None:
        """Store files that are going to be on record."""
        self._transfer.send(found)

    def checkout(self) -> Path:
        """Make the folder what the store holds, as far as the ledger can be read."""
        self._transfer.mirror_ledger()
        self._transfer.restore(recorded(readable(segments.scan(FolderStore(self.folder)))))
        return self.folder

    def checkpoints(self, stage: str) -> Callable[[], StoreCheckpoints] | None:
        """Return what opens the checkpoints of trials in a worker."""
        return partial(StoreCheckpoints, self._place.store(f"{self._run}/{stage}"), self.folder / stage)

    def overtaken(self, error: FencedError) -> None:
        """Remember that another process has taken the run over."""
        self._mark.write_text(str(error), encoding="utf-8")

    def forget(self) -> None:
        """Forget that."""
        self._mark.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise FencedError if the run was taken over."""
        if self._mark.exists():
            raise FencedError(self._mark.read_text(encoding="utf-8"))
