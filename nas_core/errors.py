"""What evernas raises on purpose. Each class has the exit code that the command line answers with.

A message names the value, the rule and the fix: `objectives[1].limit: latency_ms must be > 0, got -3`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class EvernasError(Exception):
    """The base of all errors that a user is meant to read; `str(error)` is the whole message."""

    exit_code = 1


class InputError(EvernasError):
    """Something the user gave is wrong; nothing was written because of it."""

    exit_code = 2

    def at(self, place: str) -> InputError:
        """Return this error with `place` put before its location: `limit: ...` at `objectives[1]`."""
        joint = "" if str(self).startswith("[") else "."
        return InputError(f"{place}{joint}{self}")


class OutsideError(EvernasError):
    """A system that is not ours (storage, tracking server, cluster) failed or answered nonsense."""

    exit_code = 4


class IntegrityError(EvernasError):
    """The record is not what was written. `entry` is the number of the first bad line, if one can be named."""

    exit_code = 5

    def __init__(self, message: str, entry: int | None = None) -> None:
        super().__init__(message)
        self.entry = entry


class FencedError(OutsideError):
    """Another writer appended to this ledger first; this one has to stop."""


def unknown(what: str, name: str, valid: Iterable[str]) -> InputError:
    """Return the error for a `name` that is not among `valid`: it lists them and suggests the closest."""
    names = sorted(valid)
    close = get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return InputError(f"{what}: unknown name {name!r}, expected one of {', '.join(names) or '(none)'}{hint}")
