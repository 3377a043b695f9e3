"""The report as one HTML file that needs nothing else: no network, no other file; a script only sorts a table."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.report import theme, words
from components.report.cycle import STAGES, Cycle
from components.report.theme import Drawn
from nas_core.types import Objective, Trial

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent
_VERDICTS = {
    "pass": "Shown: no two groups differ by more than the limit. The whole interval lies below it.",
    "fail": "Shown: some two groups differ by more than the limit. The whole interval lies above it.",
    "inconclusive": "Not shown either way: the interval spans the limit, or too few groups are large enough to judge. "
    "More audit rows would tell.",
}


@dataclass(frozen=True)
class Material:
    """What a page is made of.

    `summary` is as `summarise` makes it. `describe` gives a trial's identity and its decisions by name. `audit` is
    what `fairness.json` holds, if there is one.
    """

    cycle: Cycle
    summary: Mapping[str, Any]
    objectives: Sequence[Objective]
    describe: Callable[[Trial], tuple[str, Mapping[str, str]]]
    audit: Mapping[str, Any] | None
    figures: Sequence[Drawn]


def render(material: Material) -> str:
    """Return the page. Whatever a spec, a table or an error message says is text in it, never markup or script."""
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    cycle, summary = material.cycle, material.summary
    numbered, shared = words.layers(summary["champion"]["architecture"] or {})
    return (
        _templates()
        .get_template("page.html.jinja")
        .render(
            # The policy lets this very script run and no other, should anything else ever slip through.
            script=script,
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            css=(_FOLDER / "page.css").read_text(encoding="utf-8"),
            figures={d.name: (theme.svg(d), d.title) for d in material.figures},
            s=summary,
            about={"run": None, "spec": "", "seed": None, "forced": False, "previous": None, **cycle.about},
            started=cycle.started,
            stages=STAGES,
            results={stage: cycle.result(stage) for stage in STAGES},
            shares=_shares_of_time(summary["seconds"]),
            sections=_sections(cycle),
            tiles=list(words.facts(summary)),
            headline=words.headline(summary["decision"], summary["name"]),
            layers=numbered,
            shared=shared,
            comparison=_comparison(summary),
            measured=_measured(cycle, material.objectives[0].metric),
            audit=material.audit,
            verdicts=_VERDICTS,
            goals="; ".join(map(_goal, material.objectives)),
            statuses=_statuses(cycle.history.trials),
            metrics=_metrics(cycle.history.trials, material.objectives),
            candidates=list(_candidates(material)),
            environment=_environment(cycle.about),
        )
    )


def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    def code(text: str) -> Markup:
        """Return text with what stands between backticks as code."""
        parts = (escape(part) for part in text.split("`"))
        return Markup().join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        code=code,
        plain=words.plain,
        percent=words.percent,
        duration=words.duration,
        moment=words.moment,
        sentence=words.sentence,
        breakable=words.breakable,
        figure=lambda figure: "–" if figure is None else words.number(figure),
        value=lambda figure, metric: words.value(metric, figure),
    )
    return environment


# ---------------------------------------------------------------- what the parts of the page say


def _sections(cycle: Cycle) -> list[tuple[str, str]]:
    """Return (anchor, title) of the sections that this cycle has something to say in."""
    wanted = {
        "gates": ("Gates", "deploy" in cycle.results),
        "model": ("Architecture", "search" in cycle.results),
        "fairness": ("Fairness", "fairness" in cycle.results),
        "search": ("Search", bool(cycle.history.trials)),
        "data": ("Data", "drift" in cycle.results),
        "record": ("Record", True),
    }
    return [(anchor, title) for anchor, (title, there) in wanted.items() if there]


def _comparison(summary: Mapping[str, Any]) -> str:
    mean, baseline = summary["champion"]["test_accuracy"]["mean"], summary["baseline"]["test_accuracy"]
    if mean is None or baseline is None:
        return ""
    points = 100 * (mean - baseline)
    side = "above" if points >= 0 else "below"
    return f"On average {abs(points):.2f} points {side} {summary['baseline']['name']}."


def _measured(cycle: Cycle, first: str) -> dict[str, list[str]]:
    """Return the metrics to show of the final training: the first objective on validation, all on test."""
    seeds = cycle.result("retrain").get("seeds", [])
    test = [name for seed in seeds for name in seed["test"] if name != "params"]
    validation = [name for seed in seeds for name in seed["validation"] if name == first and name != "params"]
    return {"validation": list(dict.fromkeys(validation)), "test": list(dict.fromkeys(test))}


def _metrics(trials: Sequence[Trial], objectives: Sequence[Objective]) -> tuple[list[str], list[str]]:
    """Return the objectives' metrics, and all others that were measured."""
    wanted = list(dict.fromkeys(objective.metric for objective in objectives))
    measured = dict.fromkeys(name for trial in trials for name in trial.metrics or {})
    return wanted, [name for name in measured if name not in wanted]


def _candidates(material: Material) -> Iterator[dict[str, Any]]:
    history, found = material.cycle.history, material.cycle.result("search")
    front = set(found.get("front", ()))
    for trial in history.trials:
        identity, decisions = material.describe(trial)
        yield {
            "trial": trial,
            "id": identity,
            "chains": words.chains(decisions),
            "metrics": trial.metrics or {},
            "mark": "chosen" if trial.number == found.get("trial") else "front" if trial.number in front else "",
            "record": history.recorded(trial.number),
        }


def _statuses(trials: Sequence[Trial]) -> str:
    counts = Counter(str(trial.status) for trial in trials)
    return ", ".join(f"{count} {status}" for status, count in counts.most_common())


def _goal(objective: Objective) -> str:
    """Return an objective in words: `lowest parameters, at most 500,000`."""
    best, bound = {"max": ("highest", "at least"), "min": ("lowest", "at most")}[objective.goal]
    limit = "" if objective.limit is None else f", {bound} {words.value(objective.metric, objective.limit)}"
    return f"{best} {words.plain(objective.metric)}{limit}"


def _shares_of_time(seconds: Mapping[str, float | None]) -> dict[str, float]:
    """Return each stage's time in percent of the longest."""
    taken = {stage: seconds[stage] or 0.0 for stage in STAGES}
    longest = max(taken.values()) or 1.0
    return {stage: round(100 * time / longest, 1) for stage, time in taken.items()}


def _environment(about: Mapping[str, Any]) -> dict[str, str]:
    """Return code and machine as one flat list; nested names are joined."""
    flat: dict[str, str] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                add(f"{name} {key}".strip(), inner)
        elif value not in (None, ""):
            flat[name] = str(value)

    add("", about.get("environment") or {})
    add("code", about.get("code") or {})
    return flat
