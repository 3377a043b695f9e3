"""MLflow goes down, answers with errors, or loses its answers, while a search is being mirrored."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import components.backends  # noqa: F401  its settings have to be there before MLflow is imported
from components.backends.mirror import Mirror, sync
from components.backends.mlflow_compare import differences
from components.backends.mlflow_tracking import Tracker
from components.spec import TrackingSpec
from nas_core.ledger import Ledger
from nas_core.store import FolderStore
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.types import Architecture, Decision, Objective
from tests.chaos.judge import Verdict
from tests.components.backends.faulty_proxy import faulty_proxy
from tests.components.backends.mlflow_server import Server, mlflow_server

OBJECTIVES = (Objective(metric="accuracy", goal="max"),)
_FAULTS = ("503", "500", "cut before", "cut after", "cut half-way")


class Space:
    """Enough architectures for any of these searches; nobody builds them."""

    decisions = tuple(Decision(name=name, options=tuple(map(str, range(40)))) for name in ("depth", "width"))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


def names(architecture: Architecture) -> tuple[str, dict[str, str]]:
    """Name an architecture by its options."""
    return "-".join(map(str, architecture)), dict(zip(("depth", "width"), map(str, architecture), strict=True))


def mlflow_killed(folder: Path, seed: int, *, candidates: int = 300, kills: int = 4) -> dict[str, Any]:
    """Kill the server with SIGKILL again and again while candidates come; it is started again each time."""
    rng = random.Random(seed)
    with mlflow_server(folder / "server") as server:

        def trouble(over: threading.Event) -> None:
            for _ in range(kills):
                if over.wait(rng.uniform(0.3, 2.0)):
                    return
                server.kill()
                time.sleep(rng.uniform(0.0, 1.0))
                server.start()

        verdict = _search("MLflow killed", folder, server, server.uri, candidates, trouble)
    return verdict.to_json()


def mlflow_refuses(folder: Path, seed: int, *, candidates: int = 300, share: float = 0.03) -> dict[str, Any]:
    """Refuse or cut off a `share` of the requests; of those that are cut off the server has heard some."""
    rng, lock = random.Random(seed), threading.Lock()

    def plan(_method: str, _path: str) -> str:
        with lock:
            return rng.choice(_FAULTS) if rng.random() < share else ""

    with mlflow_server(folder / "server") as server, faulty_proxy(server.uri) as proxy:
        proxy.plan = plan
        verdict = _search("MLflow refuses", folder, server, proxy.address, candidates, lambda _: None)
        assert proxy.faults(), "nothing was refused"
    return verdict.to_json()


def _search(
    name: str, folder: Path, server: Server, uri: str, count: int, trouble: Callable[[threading.Event], None]
) -> Verdict:
    """Mirror a search over `uri` amid `trouble`, catch up as another process would, and judge what is there."""
    ledger = Ledger(FolderStore(folder / "run"))
    study = LedgerStudy(ledger, Space(), OBJECTIVES, Random(Space(), OBJECTIVES, 0))
    spec, over = TrackingSpec(uri=uri), threading.Event()
    maker = threading.Thread(target=trouble, args=(over,))
    read = Ledger(FolderStore(folder / "run"))
    # MLflow does not survive being killed while it makes its tables, so they are there before the trouble begins.
    Tracker(TrackingSpec(uri=server.uri), folder, "chaos", "chaos-1").known()
    with Mirror(Tracker(spec, folder, "chaos", "chaos-1"), read, names, lambda _: None) as mirror:
        maker.start()
        while len(study.history) < count:
            _play(study)
            mirror.wake()
            time.sleep(0.01)
        maker.join()
    over.set()
    later = Tracker(TrackingSpec(uri=server.uri), folder, "chaos", "chaos-1")
    told = sync(later, ledger.entries(), names)
    assert told["candidates"] == count
    return _judge(name, later, ledger, count)


def _play(study: LedgerStudy) -> None:
    [trial] = study.ask(1)
    study.report(trial.number, 1, {"accuracy": trial.number / 1000})
    study.tell(trial.number, {"accuracy": trial.number / 500}, 0.25)


def _judge(name: str, tracker: Tracker, ledger: Ledger, count: int) -> Verdict:
    """Count candidates that MLflow has not, has twice, or shows otherwise than the ledger."""
    client, found, token = tracker.client, Counter[str](), None
    home = client.get_experiment_by_name("chaos").experiment_id
    while True:
        page = client.search_runs([home], "tags.`evernas.kind` = 'candidate'", max_results=1000, page_token=token)
        found.update(run.data.tags["evernas.trial"] for run in page)
        token = page.token
        if not token:
            break
    return Verdict(
        name,
        runs=1,
        lost=sum(str(number) not in found for number in range(count)),
        duplicated=sum(times - 1 for times in found.values()),
        invalid=len(list(differences(tracker, ledger.entries(), names))),
    )
