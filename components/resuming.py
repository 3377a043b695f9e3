"""Whether an interrupted cycle may go on: only with the spec, the data and the files that its record speaks of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from components.provenance import environment
from components.run import Run
from components.sources import fingerprint, read
from components.yaml_lines import read_yaml
from nas_core.errors import InputError
from nas_core.ledger import Ledger

_MOST = 10


def check_unchanged(run: Run) -> None:
    """Raise InputError if spec, source or a finished stage's files are not what the record of `run` says.

    A cycle without a record, or one that was killed before it looked at the data, has nothing to differ from.
    """
    changed = [*_spec(run), *_source(run), *_files(run)]
    if changed:
        shown = "; ".join(changed[:_MOST]) + (f"; and {len(changed) - _MOST} more" if len(changed) > _MOST else "")
        raise InputError(
            f"run {run.id}: cannot be resumed, since it was begun with something else: {shown}; put it back as it was, "
            "or begin a new run"
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two environments by name: (before, now)."""
    names = sorted(before.keys() | now.keys())
    return {name: (before.get(name), now.get(name)) for name in names if before.get(name) != now.get(name)}


def note_environment(run: Run) -> dict[str, tuple[Any, Any]]:
    """Return how this machine and its versions differ from those that the cycle was begun with."""
    began = next(Ledger(run.store).entries({"cycle"}), None)
    return differences(began.data["environment"], environment()) if began else {}


def changed_keys(before: str, now: str) -> list[str]:
    """Return, in words, where two specs differ; only that they do if one of them is no YAML."""
    try:
        old, new = (dict(_leaves(read_yaml(text, "spec").value)) for text in (before, now))
    except InputError:
        return ["the spec"]
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return [f"{key}: {_shown(old, key)} has become {_shown(new, key)}" for key in keys] or ["comments in the spec"]


def _spec(run: Run) -> Iterator[str]:
    began = next(Ledger(run.store).entries({"cycle"}), None)
    recorded = began.data["spec"] if began else run.spec_text
    for name, text in (("run.json", run.spec_text), ("spec.yaml", _text(run))):
        if text != recorded:
            yield from (f"{name}: {change}" for change in changed_keys(recorded, text))


def _text(run: Run) -> str:
    path = run.folder / "spec.yaml"
    return path.read_text(encoding="utf-8") if path.exists() else run.spec_text


def _source(run: Run) -> Iterator[str]:
    recorded = run.results().get("drift", {}).get("source")
    if recorded is None:
        return
    try:
        found = fingerprint(read(run.spec.task.source, run.base))
    except InputError as error:
        yield f"task.source: {error}"
        return
    if found != recorded:
        yield f"task.source: the data has another digest, {found[:16]} instead of {recorded[:16]}"


def _files(run: Run) -> Iterator[str]:
    newest = {entry.data["stage"]: entry.data["files"] for entry in Ledger(run.store).entries({"stage"})}
    for stage, files in newest.items():
        for name, recorded in files.items():
            path = run.folder / stage / name
            if not path.is_file():
                yield f"{stage}/{name}: is gone"
                continue
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != recorded:
                    yield f"{stage}/{name}: has other bytes than were recorded"


def _leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{at}.{key}" if at else str(key))
    else:
        yield at, value


def _shown(spec: Mapping[str, Any], key: str) -> str:
    return repr(spec[key]) if key in spec else "(nothing)"
