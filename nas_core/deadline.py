"""A time limit for code of others, in any thread. Standard library only."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


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
        limit.timer.cancel()


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


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise TimeoutError in this thread when the block has taken `seconds`; None sets no limit.

    The exception comes between two instructions of Python: a call into a library that never returns is not ended, and
    whoever runs it in a process of its own can end that. Limits do not nest in one thread. `within` is safer.
    """
    if seconds is None:
        yield
        return
    thread, lock, state = threading.get_ident(), threading.Lock(), {"over": False, "raised": False}

    def end() -> None:
        with lock:
            if not state["over"]:
                state["raised"] = True
                _raise_in(thread, _TooLong)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    told = f"took more than {seconds:g} s"
    try:
        try:
            yield
        finally:
            with lock:
                state["over"] = True
            timer.cancel()
            if state["raised"]:  # it may not have come yet, and would come anywhere after the block
                _raise_in(thread, None)
    except _TooLong:
        raise TimeoutError(told) from None
    if state["raised"]:
        raise TimeoutError(told)


class _Limit:
    """The limit of one call, between the thread that it is of and the timer's.

    No context manager: there the exception could come after the block and before its end is noted, and nobody would
    catch it.
    """

    def __init__(self, seconds: float) -> None:
        self.timer = threading.Timer(seconds, self._end)
        self.timer.daemon = True
        self._told = f"took more than {seconds:g} s"
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._over = self._held = self._due = self._raised = False

    def run(self, call: Callable[[], T]) -> T:
        try:
            try:
                self.timer.start()
                result = call()
            finally:
                self._close()
        except _TooLong:
            raise TimeoutError(self._told) from None
        if self._due:
            raise TimeoutError(self._told)
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

    def _end(self) -> None:
        with self._lock:
            if not self._over:
                self._due = True
                if not self._held:
                    self._raised = True
                    _raise_in(self._thread, _TooLong)

    def _close(self) -> None:
        with self._lock:
            self._over = True
            if self._raised:  # it may not have come yet, and would come anywhere after the call
                _raise_in(self._thread, None)


_of = threading.local()


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Let `error` come out of whatever Python `thread` runs; None takes back one that has not come yet."""
    argument = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), argument)
