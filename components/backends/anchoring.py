"""Anchors a ledger while it grows, in a thread, so that a slow store of anchors slows nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from nas_core.chain import Signer
from nas_core.errors import EvernasError, IntegrityError
from nas_core.ledger import Head

if TYPE_CHECKING:
    from components.backends.anchors import Anchors

_LAST_TRY_SECONDS = 10.0


class Anchoring:
    """Anchors a growing ledger's heads from a thread: the first at once, more every `seconds`, the last at the end.

    It is the ledger's `on_commit`. A slow or dead store of anchors slows nothing: `note` is told, once an outage, that
    heads are not anchored, and the newest one is tried again.
    """

    def __init__(
        self, anchors: Callable[[], Anchors], signer: Signer, note: Callable[[str], None], seconds: float = 10.0
    ) -> None:
        self._anchors, self._signer, self._note, self._seconds = anchors, signer, note, seconds
        self._head: Head | None = None
        self._placed: Head | None = None
        self._behind = False
        self._news, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="anchoring", daemon=True)

    def __call__(self, head: Head) -> None:
        """Take note of a new head; returns at once."""
        self._head = head
        self._news.set()

    def __enter__(self) -> Anchoring:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Anchor the last head, as far as the anchors answer within some seconds."""
        self._end.set()
        self._news.set()
        self._thread.join(_LAST_TRY_SECONDS)
        if self._thread.is_alive():
            self._note("the last head is not anchored: EVERNAS_ANCHORS gives no answer; later commands try again")

    def _follow(self) -> None:
        last = False
        while not last:
            self._news.wait(self._seconds if self._behind else None)
            self._news.clear()
            last = self._end.is_set()  # looked at before the head, so that the last round sees the last one
            head = self._head
            if head and head != self._placed:
                self._try(head)
                self._end.wait(self._seconds)

    def _try(self, head: Head) -> None:
        try:
            self._anchors().place(head, self._signer)
        except IntegrityError as error:
            self._placed = head  # what was anchored stays
            self._note(f"not anchored: {error}")
        except EvernasError as error:
            if not self._behind:
                self._note(f"not anchored yet, the work goes on: {error}")
            self._behind = True
        else:
            self._placed = head
            if self._behind:
                self._note(f"anchored again, up to entry {head.seq}")
            self._behind = False
