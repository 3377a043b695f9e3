"""What spaces share: checks of the options that they are given, and decisions made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from nas_core.errors import InputError, unknown
from nas_core.types import Decision


def is_number(value: object) -> bool:
    """Tell whether `value` is an int or a float; a bool is neither here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: object) -> bool:
    """Tell whether `value` is an int of 1 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def check(option: str, values: Sequence[object], rule: str, holds: Callable[[Any], bool]) -> None:
    """Raise InputError unless `values` is a list or tuple of distinct values, at least one, that all hold `rule`."""
    if not isinstance(values, list | tuple) or not values:
        raise InputError(f"{option}: must be a list of one or more values, got {values!r}")
    for i, value in enumerate(values):
        if not holds(value):
            raise InputError(f"{option}: must be {rule}, got {value!r}")
        if value in values[:i]:
            raise InputError(f"{option}: must not name an option twice, got {value!r} again")


def check_names(option: str, values: Sequence[str], valid: Sequence[str]) -> None:
    """Raise InputError unless `values` is a list or tuple of distinct names, at least one, that are all `valid`."""
    check(option, values, "names", lambda v: isinstance(v, str))
    for value in values:
        if value not in valid:
            raise unknown(option, value, valid)


def scaled(width: int, share: float, least: int = 1) -> int:
    """Return about `share` of `width`, and `least` at least."""
    return max(least, round(share * width))


def names(name: str, options: Iterable[str], *active_if: tuple[int, Iterable[int]]) -> Decision:
    """Return a decision between `options` that is active if the earlier decisions take one of the options given."""
    conditions = tuple((earlier, frozenset(allowed)) for earlier, allowed in active_if)
    return Decision(name=name, options=tuple(options), active_if=conditions)


def numbers(name: str, options: Iterable[float], *active_if: tuple[int, Iterable[int]]) -> Decision:
    """Return a decision between numbers, which are its attributes as well; the rest is as in `names`."""
    values = tuple(options)
    decision = names(name, map(str, values), *active_if)
    return replace(decision, attributes=tuple((float(value),) for value in values))
