"""One cycle's folder: its spec, its ledger, and the rule that a step is done once.

<root>/<id>/spec.yaml  run.json  ledger/  data_prep/  search/  retrain/  fairness/  deploy/  report.html  summary.json
<root>/champions/<name>/                   the deployed model of that name, over all cycles
<root>/latest                              the newest cycle
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from components.backends.mirror import Names
from components.backends.mlflow_tracking import Tracker
from components.backends.signing import load_signer
from components.backends.storage import open_store
from components.champion import champion
from components.progress import Progress
from components.provenance import environment
from components.spec import Spec
from components.spec_file import parse_spec
from nas_core.chain import SEAL
from nas_core.errors import EvernasError, InputError, OutsideError
from nas_core.ledger import Ledger
from nas_core.store import Store, create_file

Result = dict[str, Any]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TAKEN = ("champions", "latest", "mlartifacts", "mlflow.db")
"""What else lies beside the runs."""


@dataclass(frozen=True)
class Run:
    """A cycle on disk. Cheap to open; every step opens it anew, in a process or pod of its own."""

    root: Path
    id: str
    progress: Progress = field(compare=False)

    @classmethod
    def create(cls, root: Path, run_id: str, spec: str, base: Path, *, forced: bool = False) -> Run:
        """Make the folder of a new cycle, or open it if it is there with the same spec; InputError if with another.

        `base` is the folder that the spec's relative paths start from.
        """
        if not _NAME.fullmatch(run_id) or run_id in _TAKEN:
            raise InputError(
                f"run: a name has letters, digits, '.', '_' and '-', begins with a letter or digit, and is none of "
                f"{', '.join(_TAKEN)}, got {run_id!r}; choose another with --run"
            )
        folder = root / run_id
        given = {"spec": spec, "base": str(base.resolve()), "forced": forced}
        try:
            create_file(folder / "run.json", json.dumps(given, indent=1).encode())
        except FileExistsError:
            if json.loads((folder / "run.json").read_text(encoding="utf-8")) != given:
                raise InputError(
                    f"run: {folder} was begun with another spec; give this one another name with --run"
                ) from None
        (folder / "spec.yaml").write_text(spec, encoding="utf-8")
        _point(root / "latest", run_id)
        return cls.open(root, run_id)

    @classmethod
    def open(cls, root: Path, run_id: str) -> Run:
        """Open the cycle `run_id`; InputError if there is none."""
        folder = root / run_id
        if not (folder / "run.json").is_file():
            raise InputError(f"run: there is no run {run_id!r} in {root}; `ls {root}` shows those there are")
        return cls(root, folder.resolve().name, Progress(folder / "progress.jsonl"))

    @property
    def folder(self) -> Path:
        """Where all files of the cycle lie."""
        return self.root / self.id

    @cached_property
    def _given(self) -> dict[str, Any]:
        given: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return given

    @cached_property
    def spec(self) -> Spec:
        """The spec of the cycle."""
        return parse_spec(self.spec_text, str(self.folder / "spec.yaml"))

    @property
    def spec_text(self) -> str:
        """The spec as it was given."""
        return str(self._given["spec"])

    @property
    def spec_digest(self) -> str:
        """SHA-256 of the spec's text."""
        return hashlib.sha256(self.spec_text.encode()).hexdigest()

    @property
    def base(self) -> Path:
        """Where relative paths of the spec start."""
        return Path(self._given["base"])

    @property
    def forced(self) -> bool:
        """Whether the search is wanted even without drift."""
        return bool(self._given["forced"])

    @property
    def champions(self) -> Path:
        """The folder of the deployment that this cycle may change."""
        return self.root / "champions" / self.spec.name

    @property
    def store(self) -> Store:
        """The store that holds the ledger."""
        return open_store(str(self.folder))

    def ledger(self) -> Ledger:
        """Open the ledger to append to it; each commit is signed with this machine's key."""
        return Ledger(self.store, load_signer())

    @cached_property
    def tracker(self) -> Tracker:
        """The cycle's run in MLflow."""
        return Tracker(self.spec.tracking, self.root, self.spec.name, self.id)

    @cached_property
    def names(self) -> Names:
        """Names an architecture of this cycle's search space by its canonical id and its decisions."""
        from components.parts import build_space
        from components.prepared import Prepared
        from nas_core.space import canonical_id, describe

        space = build_space(self.spec, Prepared.load(self.folder / "data_prep").signature)
        return lambda architecture: (canonical_id(space, architecture), describe(space, architecture))

    def begin(self) -> None:
        """Record the cycle's beginning, once: what was asked for, by what, where, after which model."""
        ledger = self.ledger()
        if next(ledger.entries({"cycle"}), None) is None:
            deployed = champion(self.champions)
            ledger.append(
                "cycle",
                {
                    "run": self.id,
                    "spec": self.spec_text,
                    "spec_digest": self.spec_digest,
                    "seed": self.spec.seed,
                    "forced": self.forced,
                    "environment": environment(),
                    "previous": deployed and {"digest": deployed.digest, "run": deployed.run},
                },
            )

    @property
    def closed(self) -> bool:
        """Whether the cycle's end is on record, and nothing after it."""
        last = None
        for entry in Ledger(self.store).entries():
            last = entry if entry.kind != SEAL else last
        return last is not None and last.kind == "end"

    @property
    def began(self) -> int:
        """When the record begins, in milliseconds since 1970; now, if it has not."""
        first = next(Ledger(self.store).entries(), None)
        when = datetime.fromisoformat(first.time) if first else datetime.now(UTC)
        return int(when.timestamp() * 1000)

    def results(self) -> dict[str, Result]:
        """Return the recorded result of each stage that is done, by its name."""
        return {e.data["stage"]: dict(e.data["result"]) for e in Ledger(self.store).entries({"stage"})}

    def step(self, stage: str, inputs: Mapping[str, Any], work: Callable[[Path, Ledger], Result]) -> Result:
        """Do `work(folder, ledger)` once for these inputs and record its result; later calls return the record.

        Before `work` begins nothing is recorded, so a step that was killed is done again. What it raises is recorded
        as a failure and raised on. The digest of every file that it leaves is recorded with the result.
        """
        ledger, digest = self.ledger(), _digest({"spec": self.spec_digest, **inputs})
        for entry in ledger.entries({"stage"}):
            if entry.data["stage"] == stage and entry.data["inputs"] == digest:
                return dict(entry.data["result"])
        out = self.folder / stage
        out.mkdir(exist_ok=True)
        started = time.monotonic()
        self.progress.begin(stage)
        with self._recording_failure(stage, ledger):
            result = work(out, ledger)
        seconds = round(time.monotonic() - started, 3)
        record = {"stage": stage, "inputs": digest, "result": result, "files": _files(out), "seconds": seconds}
        ledger.append("stage", record)
        self.progress.end(stage, seconds)
        return result

    @contextlib.contextmanager
    def tolerating(self, stage: str) -> Iterator[None]:
        """Let what MLflow cannot take now be; it is a mirror, and the last step brings it up to date."""
        try:
            yield
        except OutsideError as error:
            self.progress.note(stage, f"not mirrored yet: {error}")

    @contextlib.contextmanager
    def _recording_failure(self, stage: str, ledger: Ledger) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            code = error.exit_code if isinstance(error, EvernasError) else 1
            message = str(error) if isinstance(error, EvernasError) else f"{type(error).__name__}: {error}"
            self.progress.fail(stage, code, message)
            with contextlib.suppress(EvernasError):  # the ledger itself may be what failed
                ledger.append("failure", {"stage": stage, "code": code, "message": message[:4000]})
            raise


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder` by its relative path, engines' scratch folders left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith((".", "_")) for part in parts):
            with path.open("rb") as file:
                found["/".join(parts)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _point(link: Path, target: str) -> None:
    """Make `link` point to `target` in one step; a name that is taken by something else is left alone."""
    fresh = link.with_name(f".{link.name}-{os.getpid()}")
    if link.is_symlink() or not link.exists():
        fresh.symlink_to(target)
        fresh.replace(link)
