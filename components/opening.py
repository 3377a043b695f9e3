"""Makes runs and finds them: each is begun once, under a name of its own, with what was asked for."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.root import Root, point
from components.spec import TrackingSpec
from components.spec_file import parse_spec
from nas_core.errors import InputError
from nas_core.store import FolderStore

GIVEN = "run.json"
LATEST = "latest"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TAKEN = ("champions", "latest", "mlartifacts", "mlflow.db")
"""What else lies beside the runs."""


def create(root: Root, run_id: str, given: Mapping[str, Any]) -> None:
    """Put on record, once, what the run `run_id` was asked for: of two who begin it, one does.

    InputError for a name that cannot be one, if the run is there and was asked for something else, or if its spec
    cannot be run in this root.
    """
    if not _NAME.fullmatch(run_id) or run_id in _TAKEN:
        raise InputError(
            f"run: a name has letters, digits, '.', '_' and '-', begins with a letter or digit, and is none of "
            f"{', '.join(_TAKEN)}, got {run_id!r}; choose another with --run"
        )
    if root.remote:
        tracking(root, parse_spec(given["spec"], "spec.yaml").tracking)
    store = root.store(run_id)
    try:
        store.create(GIVEN, json.dumps(given, indent=1).encode())
    except FileExistsError:
        if json.loads(store.read(GIVEN)) != given:
            place = f"{root.uri}/{run_id}" if root.remote else root.folder / run_id
            raise InputError(
                f"run: {place} was begun with another spec, another folder for its relative paths, or other options; "
                "`evernas resume` goes on with it as it is, and another --run begins anew"
            ) from None


def find(root: Root, name: str) -> str:
    """Return the id of the run `name`, or of the latest one by the name `latest`; InputError if there is none.

    In a working folder that holds what was asked for from now on, whoever began the run.
    """
    if root.remote:
        return _fetch(root, name)
    folder = root.folder / name
    if Path(name).name != name or not (folder / GIVEN).is_file():  # a path leads out of this root
        raise _none(root, name)
    return folder.resolve().name


def _fetch(root: Root, name: str) -> str:
    run_id = root.latest() if name == LATEST else name
    if run_id is None or not _NAME.fullmatch(run_id):
        raise _none(root, name)
    try:
        given = root.store(run_id).read(GIVEN)
    except FileNotFoundError:
        raise _none(root, name) from None
    root.prepare()
    folder = FolderStore(root.folder / run_id)
    folder.replace(GIVEN, given)
    folder.replace("spec.yaml", str(json.loads(given)["spec"]).encode())
    if name == LATEST:
        point(root.folder / LATEST, run_id)
    return run_id


def tracking(root: Root, spec: TrackingSpec) -> TrackingSpec:
    """Return `spec`, which has to name a server where the root is a store: SQLite cannot lie there.

    $MLFLOW_TRACKING_URI is taken if the spec names none. InputError if there is neither.
    """
    if not root.remote or spec.uri:
        return spec
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return spec.model_copy(update={"uri": uri})
    raise InputError(
        f"tracking.uri: is not set, and MLflow cannot keep its runs in {root.uri}; name a server, as "
        "http://mlflow:5000, here or in MLFLOW_TRACKING_URI"
    )


def _none(root: Root, name: str) -> InputError:
    return InputError(f"run: there is no run {name!r} in {root.uri}; `{root.listing}` shows those there are")
