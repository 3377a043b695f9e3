"""Figures and architectures in words, the same in the terminal, on the page and in its figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from components import spending

SHARES = frozenset({"accuracy", "balanced_accuracy"})
"""Metrics that are read in percent."""

_HEADLINES = {
    "promoted": "{name} has a new champion",
    "kept": "{name} keeps its champion",
    "no drift": "{name} needs no search",
    "blocked": "The challenger for {name} was stopped",
    "interrupted": "The cycle of {name} did not come to its end",
    "failed": "The cycle of {name} failed",
}
_NUMBERED = re.compile(r"(.+)_([0-9]+)")
_UNITS = {"ms": "ms", "mb": "MB", "seconds": "s"}


def facts(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (label, figure, note) of the figures of a summary that a reader wants first, those that there are."""
    champion, accuracy, baseline = summary["champion"], summary["champion"]["test_accuracy"], summary["baseline"]
    if accuracy["mean"] is not None:
        yield "Test accuracy", percent(accuracy["mean"]), spread(accuracy["std"], len(accuracy["seeds"]))
    if baseline["test_accuracy"] is not None:
        yield "Baseline", percent(baseline["test_accuracy"]), f"{baseline['name']}, same rows"
    if champion["params"] is not None:
        size = "" if champion["size_mb"] is None else f", {champion['size_mb']:.3g} MB"
        yield "Size", number(champion["params"]), f"parameters{size}"
    if champion["latency_ms"] is not None:
        yield "Latency", f"{champion['latency_ms']:.3g} ms", f"a row, 95 % under {champion['latency_p95_ms']:.3g} ms"
    if summary["candidates"]:
        seconds = summary["seconds"]["search"]
        spent = f", {spending.words(summary['spent'])}" if summary["spent"] else ""
        took = "so far" if seconds is None else f"in {duration(seconds)}{spent}"
        yield "Candidates", number(summary["candidates"]), took


def layers(decisions: Mapping[str, str]) -> tuple[dict[int, dict[str, str]], dict[str, str]]:
    """Split decisions into those of numbered parts (`width_2: 64` becomes `{2: {"width": "64"}}`) and all others."""
    numbered: dict[int, dict[str, str]] = {}
    shared: dict[str, str] = {}
    for name, option in decisions.items():
        match = _NUMBERED.fullmatch(name)
        if match:
            numbered.setdefault(int(match[2]), {})[match[1]] = option
        else:
            shared[name] = option
    return dict(sorted(numbered.items())), shared


def chains(decisions: Mapping[str, str]) -> dict[str, str]:
    """Return decisions by their plain names, numbered ones as a chain: `{"depth": "2", "width": "128 → 64"}`."""
    found: dict[str, list[str]] = {}
    for name, option in decisions.items():
        match = _NUMBERED.fullmatch(name)
        found.setdefault(plain(match[1] if match else name), []).append(option)
    return {name: " → ".join(options) for name, options in found.items()}


def architecture(decisions: Mapping[str, str]) -> str:
    """Return decisions as one line: `depth 2, width 128 → 64, activation relu`."""
    return ", ".join(f"{name} {options}" for name, options in chains(decisions).items())


def headline(decision: str, name: str) -> str:
    """Return what a cycle's decision means for the deployment `name`."""
    return _HEADLINES[decision].format(name=name)


def breakable(name: str) -> str:
    """Return a name in CamelCase with places where a line may break, which do not show."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "\u200b", name)


def plain(name: str) -> str:
    """Return a name as words: `batch_norm` as `batch norm`."""
    return "parameters" if name == "params" else name.replace("_", " ")


def sentence(text: str) -> str:
    """Return text with a capital at its begin and a full stop at its end."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def axis(metric: str) -> str:
    """Return the label of an axis: the metric's name and its unit."""
    if metric in SHARES:
        return f"{plain(metric)} (%)"
    stem, _, unit = metric.rpartition("_")
    if stem and unit in _UNITS:
        return f"{plain(stem)} ({_UNITS[unit]})"
    return plain(metric)


def value(metric: str, figure: float | None) -> str:
    """Return a figure as people write it, with its unit: `85.62 %`, `23,456`, `0.3127`; a dash for None."""
    if figure is None:
        return "–"
    if metric in SHARES:
        return percent(figure)
    unit = _UNITS.get(metric.rpartition("_")[2]) if "_" in metric else None
    return number(figure) + (f" {unit}" if unit else "")


def percent(share: float, digits: int = 2) -> str:
    """Return a share of 1 in percent."""
    return f"{100 * share:.{digits}f} %"


def spread(std: float, seeds: int) -> str:
    """Return how far a mean of shares goes: `± 0.07 over 3 seeds`, in points."""
    return f"± {100 * std:.2f} over {seeds} seeds" if seeds > 1 else "one seed"


def number(figure: float) -> str:
    """Return a figure in four significant digits, a whole one in full with its thousands marked."""
    if float(figure).is_integer() and abs(figure) < 1e15:
        return f"{int(figure):,}"
    return f"{figure:,.0f}" if abs(figure) >= 10_000 else f"{figure:.4g}"


def duration(seconds: float | None) -> str:
    """Return seconds as `0.4 s`, `12 s`, `3 min 5 s` or `2 h 10 min`; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def moment(time: str | None) -> str:
    """Return an ISO 8601 time to the minute, in the zone that it is given in; a dash for None."""
    return f"{datetime.fromisoformat(time):%d %B %Y, %H:%M %Z}" if time else "–"
