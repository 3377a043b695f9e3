"""Which bundle is deployed: a folder of bundles, and one small file that names the champion among them.

<champions>/bundles/<digest>/   every bundle that was ever promoted, never changed
<champions>/champion.json       {"digest", "run", "promoted_at", "previous"}; replaced in one step

Of a deployment in a store this folder is a copy; `components.promotions` keeps it up to date.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from nas_core.errors import FencedError, IntegrityError
from nas_core.store import FolderStore, make_folder

_POINTER = "champion.json"
_ROLLBACK = "rollback of "


@dataclass(frozen=True)
class Champion:
    """The deployed bundle by its digest, the run that promoted it, when (ISO 8601, UTC), and the digest before it.

    After a rollback `run` is `rollback of RUN`, where RUN had promoted what was withdrawn.
    """

    digest: str
    run: str
    promoted_at: str
    previous: str | None = None


class Promote(Protocol):
    """How a bundle becomes the champion; see `promote`."""

    def __call__(
        self, champions: Path, digest: str, run: str, over: str | None, before: Callable[[], object]
    ) -> Champion:
        """Make the bundle `digest` the champion."""
        ...


def champion(champions: Path) -> Champion | None:
    """Return the champion, None if there has been none; IntegrityError if the pointer is not readable."""
    try:
        text = (champions / _POINTER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return read_pointer(text, str(champions / _POINTER))


def read_pointer(text: str | bytes, place: str) -> Champion:
    """Return the pointer that `text`, found at `place`, holds; IntegrityError if it is none."""
    try:
        return Champion(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise IntegrityError(
            f"{place}: not a champion's pointer ({error}); restore it from a backup, or name one of the digests in "
            "bundles/"
        ) from error


def write_pointer(pointer: Champion) -> bytes:
    """Return what `read_pointer` reads."""
    return json.dumps(asdict(pointer), indent=1).encode()


def point_to(champions: Path, pointer: Champion) -> None:
    """Make `pointer` the champion in one step, whatever was before."""
    FolderStore(champions).replace(_POINTER, write_pointer(pointer))


def bundle_folder(champions: Path, digest: str) -> Path:
    """Return where the bundle with this digest lies."""
    return champions / "bundles" / digest


def incumbent(champions: Path, run: str) -> str | None:
    """Return the digest that a challenger of `run` has to beat, if any.

    That is the champion; but if `run` itself has promoted it before it was interrupted, the one before.
    """
    return incumbent_of(champion(champions), run)


def incumbent_of(current: Champion | None, run: str) -> str | None:
    """Return the same where `current` is the champion."""
    if current is None:
        return None
    return current.previous if current.run == run else current.digest


def promote(
    champions: Path, digest: str, run: str, over: str | None, before: Callable[[], object] = lambda: None
) -> Champion:
    """Make the bundle `digest` the champion in one step, and return the new pointer.

    `over` is the incumbent that it was compared with. FencedError, and no change, if that is no longer the incumbent:
    another run has promoted its own in the meantime. `before` is called when nothing else stands in the way; what it
    raises stops the promotion.
    """
    with _locked(champions):
        check_incumbent(incumbent(champions, run), over, str(champions))
        before()
        pointer = new_pointer(digest, run, over)
        point_to(champions, pointer)
        return pointer


def roll_back(champions: Path, current: Champion, digest: str, before: Callable[[], object]) -> Champion:
    """Put the bundle `digest` in the place of the champion `current` in one step, and return the new pointer.

    `before` as for `promote`. FencedError, and no change, if `current` is the champion no longer.
    """
    with _locked(champions):
        check_current(champion(champions), current, str(champions))
        before()
        pointer = restored(digest, current)
        point_to(champions, pointer)
        return pointer


def check_current(actual: Champion | None, expected: Champion, place: str) -> None:
    """Raise FencedError unless the champion is still the one that is to be withdrawn."""
    if actual != expected:
        raise FencedError(f"{place}: the champion changed in the meantime; look at it, and roll back again if need be")


def restored(digest: str, withdrawn: Champion) -> Champion:
    """Return the pointer of a rollback that takes place now; its run is none, for none may deploy over it unjudged."""
    return Champion(digest, f"{_ROLLBACK}{promoter(withdrawn)}", _now(), withdrawn.digest)


def promoter(pointer: Champion) -> str:
    """Return the run in whose record a change of this champion is to be written."""
    return pointer.run.removeprefix(_ROLLBACK)


def check_incumbent(actual: str | None, over: str | None, place: str) -> None:
    """Raise FencedError unless the incumbent is still the one that the challenger was compared with."""
    if actual != over:
        raise FencedError(f"{place}: another run promoted {actual} in the meantime; deploy again to compare")


def new_pointer(digest: str, run: str, over: str | None) -> Champion:
    """Return the pointer of a promotion that takes place now."""
    return Champion(digest, run, _now(), over)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _locked(champions: Path) -> Iterator[None]:
    make_folder(champions)
    with (champions / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
