"""Deployments, in folders and in stores. In a store every promotion is an object; the newest names the champion.

champions/<name>/promotions/<number>.json   as `champion.json` in a folder; created, never replaced
champions/<name>/bundles/<digest>/          every bundle that was ever promoted

Of two processes that promote at the same time only one creates the next number; the other is fenced. Whoever reads
works on a folder with the layout of `components.champion`, into which the champion is fetched first.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from components.backends.storage import get_file, put_file
from components.champion import (
    Champion,
    bundle_folder,
    champion,
    check_current,
    check_incumbent,
    incumbent_of,
    new_pointer,
    point_to,
    promote,
    read_pointer,
    restored,
    roll_back,
    write_pointer,
)
from components.root import Root
from nas_core.errors import FencedError, IntegrityError
from nas_core.store import Store, make_folder

_NUMBER = re.compile(r"promotions/([0-9]{8})\.json")


def deployment(root: Root, name: str) -> Deployment:
    """Return the deployment `name` in `root`."""
    folder, place = root.folder / "champions" / name, f"champions/{name}"
    if not root.remote:
        return Deployment(folder)
    root.prepare()
    return StoredDeployment(folder, root.store(place), f"{root.uri}/{place}")


class Deployment:
    """The deployment in `folder`; see `components.champion`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def champion(self) -> Champion | None:
        """Return the champion, None if there has been none; IntegrityError if the pointer is not readable."""
        return champion(self.folder)

    def fetch(self, run: str | None = None) -> Path:  # noqa: ARG002  the others need it
        """Bring the folder up to date and return it: pointer, champion's bundle, and the one that `run` has to beat."""
        return self.folder

    def promote(
        self, champions: Path, digest: str, run: str, over: str | None, before: Callable[[], object] = lambda: None
    ) -> Champion:
        """See `components.champion.promote`."""
        return promote(champions, digest, run, over, before)

    def roll_back(self, current: Champion, digest: str, before: Callable[[], object]) -> Champion:
        """See `components.champion.roll_back`."""
        return roll_back(self.folder, current, digest, before)

    def bundles(self) -> list[str]:
        """Return the digests of all bundles that were ever promoted, sorted."""
        return sorted(path.name for path in (self.folder / "bundles").glob("*") if path.is_dir())

    def check_bundle(self, digest: str) -> None:
        """Raise IntegrityError unless the bundle `digest` is there, whole and unchanged."""
        from components import bundle  # it loads what most commands do without

        bundle.read(bundle_folder(self.folder, digest), digest)


class StoredDeployment(Deployment):
    """The deployment in `store`, called `place` for people, and its copy in `folder`."""

    def __init__(self, folder: Path, store: Store, place: str) -> None:
        super().__init__(folder)
        self._store, self._place = store, place

    def champion(self) -> Champion | None:
        """Return the champion, None if there has been none; IntegrityError if the newest promotion is not readable."""
        return self._newest()[1]

    def fetch(self, run: str | None = None) -> Path:
        """Bring the folder up to date and return it; it is not there if there has been no champion.

        IntegrityError if a bundle is not, whole and unchanged, what its digest says.
        """
        current = self.champion()
        if current is None:
            return self.folder
        wanted = {current.digest, incumbent_of(current, run) if run else None} - {None}
        for digest in sorted(wanted, key=str):
            self._fetch_bundle(str(digest))
        point_to(self.folder, current)
        return self.folder

    def promote(
        self, champions: Path, digest: str, run: str, over: str | None, before: Callable[[], object] = lambda: None
    ) -> Champion:
        """See `components.champion.promote`; the bundle is read from the folder `champions` and stored first."""
        number, current = self._newest()
        check_incumbent(incumbent_of(current, run), over, self._place)
        for path in sorted(bundle_folder(champions, digest).iterdir()):
            put_file(self._store, f"bundles/{digest}/{path.name}", path)
        before()
        pointer = new_pointer(digest, run, over)
        self._create(number + 1, pointer)
        point_to(champions, pointer)
        return pointer

    def roll_back(self, current: Champion, digest: str, before: Callable[[], object]) -> Champion:
        """See `components.champion.roll_back`."""
        number, actual = self._newest()
        check_current(actual, current, self._place)
        before()
        pointer = restored(digest, current)
        self._create(number + 1, pointer)
        return pointer

    def bundles(self) -> list[str]:
        """Return the digests of all bundles that were ever promoted, sorted."""
        return sorted({key.split("/")[1] for key in self._store.keys("bundles/")})

    def check_bundle(self, digest: str) -> None:
        """Raise IntegrityError unless the bundle `digest` is there, whole and unchanged."""
        self._fetch_bundle(digest)

    def _create(self, number: int, pointer: Champion) -> None:
        try:
            self._store.create(f"promotions/{number:08d}.json", write_pointer(pointer))
        except FileExistsError as error:
            raise FencedError(
                f"{self._place}: another run promoted its own at the same moment; deploy again to compare"
            ) from error

    def _newest(self) -> tuple[int, Champion | None]:
        """Return the number of the newest promotion and what it says; -1 and None if there is none."""
        key = max(self._store.keys("promotions/"), default=None)
        if key is None:
            return -1, None
        match = _NUMBER.fullmatch(key)
        if not match:
            raise IntegrityError(f"{self._place}/{key}: not a promotion's name; find out who put it there, remove it")
        return int(match[1]), read_pointer(self._store.read(key), f"{self._place}/{key}")

    def _fetch_bundle(self, digest: str) -> None:
        from components import bundle  # it loads what most commands do without

        final = bundle_folder(self.folder, digest)
        if final.exists():
            with suppress(IntegrityError):
                bundle.read(final, digest)
                return
            shutil.rmtree(final, ignore_errors=True)  # this copy is not as it was fetched
        make_folder(final.parent)
        with TemporaryDirectory(prefix=".fetch-", dir=final.parent) as name:
            draft = Path(name) / digest
            draft.mkdir()
            for key in self._store.keys(f"bundles/{digest}/"):
                get_file(self._store, key, draft / key.rpartition("/")[2])
            bundle.read(draft, digest)
            try:
                draft.rename(final)
            except OSError:  # another process was faster
                bundle.read(final, digest)
