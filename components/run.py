"""One cycle's folder: its spec, its ledger, and the rule that a step is done once.

<root>/<id>/spec.yaml  run.json  ledger/  data_prep/  search/  retrain/  fairness/  deploy/  report.html  summary.json
<root>/<id>/.lock                          held by the process that works on the cycle
<root>/champions/<name>/                   the deployed model of that name, over all cycles
<root>/latest                              the newest cycle

Where the root is a store, as S3 is, this is a working folder: the ledger is in the store alone, and files are fetched
before a step works and sent before it is on record; see `components.root`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from components import opening
from components.backends.anchors import Anchoring, Anchors, anchors_uri, open_anchors
from components.backends.mirror import Names
from components.backends.mlflow_tracking import Tracker
from components.backends.signing import load_signer
from components.kept import Kept, kept
from components.locking import locked
from components.progress import Progress
from components.promotions import Deployment, deployment
from components.provenance import environment
from components.root import Root
from components.spec import Spec
from components.spec_file import parse_spec
from components.transfer import files
from nas_core.chain import SEAL
from nas_core.errors import EvernasError, FencedError, OutsideError
from nas_core.ledger import EMPTY, Ledger
from nas_core.store import Store

__all__ = ["Result", "Run", "files"]

Result = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A cycle on disk, or in a store. Cheap to open; every step opens it anew, in a process or pod of its own."""

    place: Root
    id: str
    progress: Progress = field(compare=False)

    @classmethod
    def create(cls, root: str | Path | Root, run_id: str, spec: str, base: Path, *, forced: bool = False) -> Run:
        """Make the folder of a new cycle, or open it if it is there with the same spec; InputError if with another.

        `base` is the folder that the spec's relative paths start from.
        """
        place = Root.open(root)
        opening.create(place, run_id, {"spec": spec, "base": str(base.resolve()), "forced": forced})
        run = cls.open(place, run_id)
        (run.folder / "spec.yaml").write_text(spec, encoding="utf-8")
        place.point(run_id)
        return run

    @classmethod
    def open(cls, root: str | Path | Root, name: str) -> Run:
        """Open the cycle `name`, or the latest one by the name `latest`; InputError if there is none."""
        place = Root.open(root)
        run_id = opening.find(place, name)
        return cls(place, run_id, Progress(place.folder / run_id / "progress.jsonl"))

    @property
    def root(self) -> Path:
        """The folder on this machine in which the run's folder lies."""
        return self.place.folder

    @property
    def uri(self) -> str:
        """The root as it is passed on from step to step."""
        return self.place.uri

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

    @cached_property
    def kept(self) -> Kept:
        """What fetches and stores the files of the cycle, where its folder is a working folder."""
        return kept(self.place, self.id)

    @cached_property
    def deployment(self) -> Deployment:
        """The deployment that this cycle may change."""
        return deployment(self.place, self.spec.name)

    @property
    def champions(self) -> Path:
        """The folder of that deployment, brought up to date."""
        return self.deployment.fetch(self.id)

    @cached_property
    def store(self) -> Store:
        """The store that holds the ledger."""
        return self.place.store(self.id)

    @cached_property
    def anchors(self) -> Anchors:
        """Where heads of the ledger are kept besides; the ledger has to have begun."""
        first = next(Ledger(self.store).entries())
        return open_anchors(self.id, first.hash[:16])

    @contextlib.contextmanager
    def writing(self, stage: str) -> Iterator[Ledger]:
        """Give the ledger to append to, to one process at a time; each commit is signed with this machine's key.

        Heads are anchored meanwhile, and the last one at the end. IntegrityError if the ledger does not reach as far as
        it was anchored. OutsideError if another process does not let go of the run.
        """
        with self._locked(stage):
            signer = load_signer()
            anchored = self._anchored()
            with Anchoring(lambda: self.anchors, signer, lambda text: self.progress.note(stage, text)) as anchoring:
                try:
                    yield Ledger(self.store, signer, anchored=anchored, on_commit=anchoring)
                except FencedError as error:
                    self.kept.overtaken(error)
                    raise

    def _anchored(self) -> int:
        """Return the number of the newest anchored line, -1 if there is none, or if the anchors do not answer."""
        if next(Ledger(self.store).entries(), None) is None:
            return EMPTY.seq
        with contextlib.suppress(OutsideError):
            newest = self.anchors.newest()
            return newest.seq if newest else EMPTY.seq
        return EMPTY.seq

    @cached_property
    def tracker(self) -> Tracker:
        """The cycle's run in MLflow."""
        return Tracker(opening.tracking(self.place, self.spec.tracking), self.root, self.spec.name, self.id)

    @cached_property
    def names(self) -> Names:
        """Names an architecture of this cycle's search space by its canonical id and its decisions."""
        from components.parts import build_space, grounded
        from components.prepared import Prepared
        from nas_core.space import canonical_id, describe

        space = build_space(grounded(self.spec, self.base), Prepared.load(self.folder / "data_prep").signature)
        return lambda architecture: (canonical_id(space, architecture), describe(space, architecture))

    def begin(self) -> None:
        """Record the cycle's beginning, once: what was asked for, by what, where, after which model.

        A process that goes on with a cycle on another machine, or with other versions, is recorded as such.
        """
        self.kept.forget()
        with self.writing("drift") as ledger:
            now = environment()
            known = [e.data["environment"] for e in ledger.entries({"cycle", "continued"})]
            if known:
                if known[-1] != now:
                    ledger.append("continued", {"environment": now})
                return
            deployed = self.deployment.champion()
            ledger.append(
                "cycle",
                {
                    "run": self.id,
                    "spec": self.spec_text,
                    "spec_digest": self.spec_digest,
                    "seed": self.spec.seed,
                    "forced": self.forced,
                    "environment": now,
                    "anchors": anchors_uri(),
                    "previous": deployed and {"digest": deployed.digest, "run": deployed.run},
                },
            )

    @property
    def closed(self) -> bool:
        """Whether the cycle's end is on record, and nothing after it but what became of its report and its champion."""
        last = None
        for entry in Ledger(self.store).entries():
            last = entry if entry.kind not in (SEAL, "published", "rollback") else last
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

    def step(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        work: Callable[[Path, Ledger], Result],
        reads: Iterable[str] | None = None,
    ) -> Result:
        """Do `work(folder, ledger)` once for these inputs and record its result; later calls return the record.

        Before `work` begins nothing is recorded, so a step that was killed is done again. What it raises is recorded
        as a failure and raised on. The digest of every file that it leaves is recorded with the result. `reads` are
        the stages whose files it needs, all that are done if nothing is said.
        """
        digest = _digest({"spec": self.spec_digest, **inputs})
        for entry in Ledger(self.store).entries({"stage"}):
            if entry.data["stage"] == stage and entry.data["inputs"] == digest:
                return dict(entry.data["result"])
        with self.writing(stage) as ledger:
            return self._step(stage, digest, work, ledger, reads)

    def _step(
        self,
        stage: str,
        digest: str,
        work: Callable[[Path, Ledger], Result],
        ledger: Ledger,
        reads: Iterable[str] | None,
    ) -> Result:
        started = time.monotonic()
        self.progress.begin(stage)
        with self._recording_failure(stage, ledger):
            self.kept.fetch(reads)
            out = self.kept.make(stage)
            result = work(out, ledger)
            found = files(out)
            self.kept.send({f"{stage}/{name}": each for name, each in found.items()})
        seconds = round(time.monotonic() - started, 3)
        record = {"stage": stage, "inputs": digest, "result": result, "files": found, "seconds": seconds}
        ledger.append("stage", record)
        ledger.compact()
        self.progress.end(stage, seconds)
        return result

    @contextlib.contextmanager
    def _locked(self, stage: str) -> Iterator[None]:
        told = f"run {self.id}: another process has been working on it"
        with locked(self.folder / ".lock", told, lambda text: self.progress.note(stage, text)):
            yield

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
