"""What the anchors say of a ledger, and what it means that they say nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from components.audit.record import Record
from components.backends.anchors import Anchor, Anchors, anchors_uri, check, open_anchors
from nas_core.errors import IntegrityError
from nas_core.store import Store


@dataclass
class Witnesses:
    """The anchors of a ledger, the ids of other ledgers that were anchored under its name, and what is wrong with it.

    `place` is where they were looked for, None if that was not this machine's usual place.
    """

    anchors: list[Anchor] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    problems: list[IntegrityError] = field(default_factory=list)
    place: str | None = None

    def check(self, record: Record, key: str | None, end: int | None) -> None:
        """Raise IntegrityError for the first entry that is not what was anchored.

        `key` sealed the ledger; `end` is an entry from which on the ledger is known to be broken.
        """
        anchors = [anchor for anchor in self.anchors if end is None or anchor.seq < end]
        check(anchors, record.hash_at, record.head, key, self.others)
        kept = record.cycle.get("anchors")
        if not self.anchors and not self.problems and kept is not None and kept == self.place:
            raise IntegrityError(
                f"anchors: there are none in {kept}, where entry 0 says that they are kept; they were deleted, or "
                "never written; ask who keeps that place: without them nobody can tell what was cut off",
                0,
            )

    def summary(self) -> dict[str, Any]:
        """Return how many anchors there are, and the newest: up to there nothing can have been cut off."""
        newest = max(self.anchors, default=None)
        return {
            "checked": len(self.anchors),
            "newest": None if newest is None else newest.seq,
            "time": None if newest is None else newest.time,
        }


def ask_anchors(name: str, record: Record, store: Store | None = None) -> Witnesses:
    """Return what the anchors in `store` (None: this machine's) say of the ledger `record` of a run in a folder `name`.

    The run's own name is the one in its record; a folder may be a copy. OutsideError if the anchors do not answer.
    """
    run = str(record.cycle.get("run", name))
    ledger = record.hashes[0] if record.hashes else "0" * 64
    anchors = open_anchors(run, ledger) if store is None else Anchors(store, run, ledger)
    found = Witnesses(place=anchors_uri() if store is None else None)
    try:
        found.anchors = anchors.all()
    except IntegrityError as error:
        found.problems.append(error)
    found.problems += [
        IntegrityError(f"anchor of entry {anchor.seq}: was {anchor.hidden} in its bucket; its first version is read")
        for anchor in found.anchors
        if anchor.hidden
    ]
    # Under the folder's name too: who writes a ledger anew may give it another name, the folder keeps its own.
    found.others = sorted({other for each in {run, name} for other in anchors.ledgers_of(each)} - {ledger[:16]})
    if not record.hashes and found.others and record.broken is None:
        found.problems.append(
            IntegrityError(f"run {run}: has no ledger, though one was anchored ({', '.join(found.others)})", 0)
        )
    return found
