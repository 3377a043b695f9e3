from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from components.backends.ray_tune import RayRunner
from components.spec import RayRunnerSpec
from nas_core.history import History
from nas_core.interfaces import Rung, Session
from nas_core.ledger import Ledger
from nas_core.spaces.chain import Chain
from nas_core.store import MemoryStore
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.types import Budget, Status, Trial
from tests.chaos.driver import OBJECTIVES, _task
from tests.chaos.ray_faults import driver_killed, node_killed, worker_killed, worker_starved
from tests.chaos.ray_nodes import nodes

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("fault", [node_killed, worker_killed, worker_starved, driver_killed])
def test_a_search_on_ray_survives(tmp_path: Path, fault: Callable[[Path, int], dict[str, Any]]) -> None:
    found = fault(tmp_path / "run", 1)
    assert (found["runs"], found["lost"], found["duplicated"], found["invalid"]) == (1, 0, 0, 0), found


def test_a_trial_whose_last_other_machine_goes_while_it_waits_runs_again_where_it_was_lost(tmp_path: Path) -> None:
    """Both machines are taken; the first trial loses its worker, waits for the other machine, and that is killed."""

    class Waiting:
        def estimate(self, trial: Trial, _session: Session) -> Mapping[str, float]:
            import ray

            mark = tmp_path / f"{trial.number}-{trial.attempt}"
            mark.write_text(ray.get_runtime_context().get_node_id())
            while len(list(tmp_path.glob("?-0"))) < 2:
                time.sleep(0.05)
            if (trial.number, trial.attempt) == (0, 0):
                os.kill(os.getpid(), signal.SIGKILL)
            while (trial.number, trial.attempt) == (1, 0):
                time.sleep(0.05)
            return {"accuracy": 0.5, "params": 1.0}

    with nodes({"num_cpus": 1}, {"num_cpus": 1}) as cluster:

        def kill(trial: Trial) -> None:
            if trial.number == 0 and trial.attempt == 1 and not (tmp_path / "killed").exists():
                (tmp_path / "killed").touch()
                time.sleep(3)  # it has been given out by now, and waits
                cluster.kill((tmp_path / "1-0").read_text())

        def changed(trial: Trial) -> None:
            Thread(target=kill, args=(trial,), daemon=True).start()

        space, store = Chain(_task().signature, max_depth=2, widths=(8, 16)), MemoryStore()
        study = LedgerStudy(Ledger(store), space, OBJECTIVES, Random(space, OBJECTIVES, 3), on_change=changed)
        spec = RayRunnerSpec(kind="ray", address=cluster.address)
        RayRunner(spec, tmp_path / "run", "chaos").run(study, [Rung(1.0, Waiting())], Budget(trials=2))
    trials = History(Ledger(store).entries()).trials
    assert [(trial.status, trial.attempt) for trial in trials] == [(Status.OK, 1)] * 2
    assert (tmp_path / "0-1").read_text() == (tmp_path / "0-0").read_text() == (tmp_path / "1-1").read_text()
