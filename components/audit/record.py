"""A run's ledger as far as it reads, with what an audit wants to know of it, in little memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nas_core import segments
from nas_core.errors import IntegrityError
from nas_core.ledger import EMPTY, Entry, Head
from nas_core.store import Store


@dataclass
class Record:
    """What the lines say that could be read before the first that is not in order.

    `hashes` by number; `cycle` is what the cycle wrote of itself at its begin, `stages` has the newest entry of each
    stage, `published` is the newest entry on the report's files; `broken` is what ended the reading, if anything did.
    """

    hashes: list[str] = field(default_factory=list)
    cycle: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, Entry] = field(default_factory=dict)
    published: Entry | None = None
    broken: IntegrityError | None = None

    @property
    def head(self) -> Head:
        """The last line that could be read."""
        return Head(len(self.hashes) - 1, self.hashes[-1]) if self.hashes else EMPTY

    @property
    def files(self) -> dict[str, tuple[str, int]]:
        """The SHA-256 of each recorded file by its path in the run's folder, and the entry that says so.

        A stage that was done again is judged by its newest entry.
        """
        found = {
            f"{stage}/{name}": (digest, entry.seq)
            for stage, entry in self.stages.items()
            for name, digest in entry.data["files"].items()
        }
        if self.published is not None:
            found |= {name: (digest, self.published.seq) for name, digest in self.published.data["files"].items()}
        return found

    def hash_at(self, seq: int) -> str | None:
        """Return the hash of line `seq`, None if there is none."""
        return self.hashes[seq] if 0 <= seq < len(self.hashes) else None


def read_record(store: Store) -> Record:
    """Read the ledger in `store` as far as its chain is in order; signatures are not looked at."""
    record = Record()
    try:
        for entry in segments.scan(store):  # opening a ledger asks more of its newest object
            record.hashes.append(entry.hash)
            if entry.kind == "cycle" and not record.cycle:
                record.cycle = entry.data
            elif entry.kind == "stage":
                record.stages[entry.data["stage"]] = entry
            elif entry.kind == "published":
                record.published = entry
    except IntegrityError as error:
        record.broken = error
    return record
