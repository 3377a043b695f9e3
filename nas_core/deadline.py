"""A time limit for code of others, in any thread. Standard library only."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_AGAIN = 0.5
"""Seconds after which the exception is sent again: Python drops one that comes out of a destructor."""


class _TooLong(BaseException):
    """Ends the thread's code; not an Exception, so that no estimator takes it for its own."""


def within(seconds: float | None, call: Callable[[], T]) -> T:
    """Return what `call` returns; TimeoutError, in this thread, once it has taken `seconds`. None sets no limit.

    The exception comes between two instructions of Python: a call into a library that never returns is not ended, and
    whoever runs it in a process of its own can end that. What returns too late counts as too late. Limits do not nest
    in one thread.
    """
    if seconds is None:
        return call()
    limit = _of.limit = _Limit(seconds)
    try:
        return limit.run(call)
    finally:
        _of.limit = None


@contextmanager
def held_off() -> Iterator[None]:
    """Put off the limit of this thread, if there is one, until the block is done: what is recorded is recorded whole.

    What the block itself raises goes before.
    """
    limit: _Limit | None = getattr(_of, "limit", None)
    if limit is None:
        yield
        return
    limit.hold()
    try:
        yield
    except BaseException:
        limit.let_go()
        raise
    if limit.let_go():
        raise _TooLong


class _Limit:
    """The limit of one call, between the thread that it is of and the one that watches the time.

    No context manager: there the exception could come after the block and before its end is noted, and nobody would
    catch it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._over = self._held = self._due = False

    def run(self, call: Callable[[], T]) -> T:
        told = f"took more than {self._seconds:g} s"
        try:
            try:
                threading.Thread(target=self._watch, name="time limit", daemon=True).start()
                result = call()
            finally:
                self._close()
        except _TooLong:
            self._close()  # it may have come before the end was noted
            raise TimeoutError(told) from None
        finally:
            self._done.set()
        if self._due:
            raise TimeoutError(told)
        return result

    def hold(self) -> None:
        with self._lock:
            if self._due:
                _raise_in(self._thread, None)
                raise _TooLong
            self._held = True

    def let_go(self) -> bool:
        """Return whether the limit has passed meanwhile."""
        with self._lock:
            self._held = False
            return self._due

    def _watch(self) -> None:
        wait = self._seconds
        while not self._done.wait(wait):
            wait = _AGAIN
            with self._lock:
                if self._over:
                    return
                self._due = True
                if not self._held:
                    _raise_in(self._thread, _TooLong)

    def _close(self) -> None:
        with self._lock:
            self._over = True
            if self._due:  # the exception may not have come yet, and would come anywhere after the call
                _raise_in(self._thread, None)


_of = threading.local()


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Let `error` come out of whatever Python `thread` runs; None takes back one that has not come yet."""
    argument = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), argument)
