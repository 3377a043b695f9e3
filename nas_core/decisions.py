"""When the decisions of a search space make sense."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas_core.errors import InputError
from nas_core.types import Decision


def check_decisions(decisions: Sequence[Decision]) -> None:
    """Raise InputError unless names are unique and options, attributes and conditions are sound."""
    names: set[str] = set()
    for index, decision in enumerate(decisions):
        at = f"decisions[{index}]"
        if not decision.name or decision.name in names:
            raise InputError(f"{at}.name: must be unique and not empty, got {decision.name!r}; rename it")
        names.add(decision.name)
        if not decision.options or len(set(decision.options)) < len(decision.options):
            raise InputError(f"{at}.options: {decision.name} needs distinct options, got {decision.options}")
        _check_attributes(at, decision)
        _check_conditions(at, decision, decisions[:index])


def _check_attributes(at: str, decision: Decision) -> None:
    rows = decision.attributes
    if not rows:
        return
    if len(rows) != len(decision.options) or len({len(row) for row in rows}) > 1:
        raise InputError(f"{at}.attributes: {decision.name} needs one row per option, all equally long, got {rows}")
    if not all(math.isfinite(value) for row in rows for value in row):
        raise InputError(f"{at}.attributes: {decision.name} needs finite numbers, got {rows}")


def _check_conditions(at: str, decision: Decision, before: Sequence[Decision]) -> None:
    for earlier, allowed in decision.active_if:
        if not 0 <= earlier < len(before):
            raise InputError(
                f"{at}.active_if: {decision.name} may depend on decisions before it only, got {earlier}; "
                "put the decision that it depends on first"
            )
        if not allowed or not allowed <= set(range(len(before[earlier].options))):
            raise InputError(
                f"{at}.active_if: {decision.name} must name options of {before[earlier].name} by index "
                f"(0 to {len(before[earlier].options) - 1}), got {sorted(allowed)}"
            )
