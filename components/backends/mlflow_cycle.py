"""The run of a whole cycle in MLflow beside what the record has told it to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.backends import mlflow_difference as diff
from components.backends.mlflow_difference import Difference
from components.backends.mlflow_parent import Ending, Parent
from components.backends.mlflow_records import (
    ADOPTED,
    KIND,
    LEDGER_HASH,
    NAME,
    RUN,
    RUNNING,
    Point,
    shown_params,
    shown_points,
    shown_tags,
)
from components.backends.mlflow_tracking import Tracker

_CYCLE = "cycle"
_UNTOLD = Ending(RUNNING, 0)


def differ_cycle(
    tracker: Tracker, run: Any | None, parent: Parent | None, files: Mapping[str, str] | None, *, children: bool
) -> Iterator[Difference]:
    """Yield what sets the cycle's `run` apart from what `parent` and `files` say; without a parent only whose it is.

    A run that still has the end of an earlier report, or none, is behind: there, what the newest report told may be
    missing, but nothing may be what no report ever told.
    """
    if run is None or run.info.lifecycle_stage != "active":
        yield Difference(_CYCLE, "run", "run", tracker.run, None, behind=run is None and not children)
        return
    ours = {RUN: tracker.run, KIND: _CYCLE}
    adopted = run.data.tags.get(ADOPTED) == tracker.experiment
    if adopted:
        ours[ADOPTED] = tracker.experiment
    else:
        ours[NAME] = tracker.run
        yield from diff.named(_CYCLE, tracker.run, run)
    if parent is None:
        own = {key: value for key, value in run.data.tags.items() if key in ours}
        yield from diff.values(_CYCLE, "tag", ours, own)
        return
    told = _Told.of(parent, ours)
    behind, found = _end(Ending(run.info.status, run.info.end_time or 0), parent)
    if adopted:  # whoever made it ends it
        behind, found = parent.ended and not told.is_shown(run), []
    edits = [*_described(run, told), *_measured(run, tracker, told), *_data(run, parent)]
    if files is not None:
        edits += diff.artifacts(run, tracker.client, files if parent.tellings else {})
    if adopted:
        edits = [each for each in edits if each.kind != "added" or each.what == "metric"]
    if behind:
        edits = [each for each in edits if not _excused(each, told)]
    elif not parent.ended:
        edits = [each for each in edits if (each.what, each.kind) != ("input", "deleted")]
    yield from (*found, *edits)
    if behind and parent.ended:
        yield Difference(_CYCLE, "run", "end", parent.endings[-1].status, None, behind=True)


def _end(now: Ending, parent: Parent) -> tuple[bool, list[Difference]]:
    """Tell whether the run has not the newest end yet, and what of its end nobody recorded."""
    *earlier, recorded = (_UNTOLD, *parent.endings)
    if now == recorded or now in earlier:
        return now != recorded, []
    found: list[Difference] = []
    if now.status != recorded.status:
        found.append(Difference(_CYCLE, "status", "status", recorded.status, now.status))
    if now.at != recorded.at:
        found.append(Difference(_CYCLE, "time", "end", recorded.at or None, now.at or None))
    return False, found


@dataclass
class _Told:
    """What the newest report told, and what earlier ones did, of which MLflow may have missed any."""

    ours: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    earlier: list[_Told] = field(default_factory=list)

    @classmethod
    def of(cls, parent: Parent, ours: Mapping[str, str]) -> _Told:
        tellings = [
            cls(
                ours,
                shown_tags(each.tags),
                shown_params(each.params),
                shown_points([(name, value, each.at, 0) for name, value in each.metrics.items()]),
            )
            for each in parent.tellings
        ]
        *earlier, newest = tellings or [cls(ours)]
        newest.earlier = earlier
        return newest

    def is_shown(self, run: Any) -> bool:
        """Tell whether `run` shows the newest report."""
        return bool(run.data.tags.get(LEDGER_HASH) == self.tags.get(LEDGER_HASH))

    def once(self, what: str, name: str, value: object) -> bool:
        """Tell whether an earlier report said that `name` is `value`."""
        some = ((told.tags if what == "tag" else told.params) for told in self.earlier)
        return any(told.get(name) == value for told in some)


def _described(run: Any, told: _Told) -> Iterator[Difference]:
    yield from (
        each
        for each in (
            *diff.values(_CYCLE, "tag", {**told.tags, **told.ours}, run.data.tags),
            *diff.values(_CYCLE, "param", told.params, run.data.params),
        )
        if not (each.kind == "added" and told.once(each.what, each.name, each.found))
    )


def _measured(run: Any, tracker: Tracker, told: _Told) -> Iterator[Difference]:
    allowed = [point for earlier in told.earlier for point in earlier.points]
    return diff.points(_CYCLE, told.points, diff.history(run, tracker.client), allowed)


def _data(run: Any, parent: Parent) -> Iterator[Difference]:
    data = {f"data {parent.dataset[0]} {parent.dataset[1][:36]}": "logged"} if parent.dataset else {}
    yield from diff.values(_CYCLE, "input", data, diff.inputs(run))
    yield from diff.outputs(_CYCLE, run)


def _excused(each: Difference, told: _Told) -> bool:
    """Tell whether `each` is what a run looks like that was not told the newest report, or half of it."""
    if each.what == "artifact" or (each.kind == "deleted" and each.name not in told.ours):
        return True
    return each.what in ("tag", "param") and told.once(each.what, each.name, each.found)
