from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.backends import ray_faults
from components.backends.ray_cluster import connected
from nas_core.checkpoints import Checkpoints
from nas_core.errors import FencedError, InputError, OutsideError
from nas_core.interfaces import Session
from nas_core.ledger import Ledger
from nas_core.types import Budget, Status, Trial
from tests.components.backends.ray_running import run

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", autouse=True)
def ray(cluster: str) -> Iterator[None]:
    """One connection for all tests; `auto` finds it."""
    with connected(cluster):
        yield


# ---------------------------------------------------------------- what comes of trials


@dataclass
class Fates:
    """One trial of each kind, one after another."""

    trials: Sequence[Trial]
    ledger: Ledger
    folder: Path


@pytest.fixture(scope="module")
def fates(new_studies: Any, tmp_path_factory: pytest.TempPathFactory) -> Fates:
    def estimate(trial: Trial, session: Session) -> Mapping[str, float]:
        began = time.perf_counter()
        match trial.number:
            case 2:
                raise ZeroDivisionError("no such luck")
            case 3:
                raise MemoryError
            case 5 if trial.attempt < 1:
                os.kill(os.getpid(), signal.SIGKILL)
            case 6:
                os.kill(os.getpid(), signal.SIGKILL)
            case 7:
                raise OutsideError("storage: cannot write")
            case 9:
                return {"accuracy": float("nan")}
        for step in range(1, 5):
            session.report(step, {"accuracy": step / 10})
        time.sleep(0.1)
        return {"accuracy": 0.4, "process": float(os.getpid()), "seconds": time.perf_counter() - began}

    class Stopper:
        def stop(self, history: Sequence[Trial], number: int) -> bool:
            return number == 4 and len(history[number].curve) == 2

    studies, folder = new_studies(), tmp_path_factory.mktemp("fates")
    study = studies.open(stopper=Stopper())
    run(study, estimate, folder, Budget(trials=11), max_concurrent=1, retries=1)
    return Fates(list(study.history), studies.ledger, folder)


def test_a_trial_that_came_out_has_its_curve_and_metrics(fates: Fates) -> None:
    trial = fates.trials[0]
    assert trial.status is Status.OK
    assert [(step, metrics["accuracy"]) for step, metrics in trial.curve] == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert trial.metrics
    assert trial.metrics["accuracy"] == 0.4


def test_the_cost_is_what_the_worker_took_without_what_ray_did(fates: Fates) -> None:
    """The first trial has waited for a process, the second was quick."""
    for trial in fates.trials[:2]:
        assert trial.metrics
        assert trial.cost_seconds == pytest.approx(trial.metrics["seconds"], abs=0.05)


@pytest.mark.parametrize(
    ("number", "status", "reason"),
    [
        (2, Status.FAILED, "error: ZeroDivisionError: no such luck"),
        (3, Status.INFEASIBLE, "oom: MemoryError"),
        (9, Status.FAILED, "nan: accuracy is nan"),
    ],
)
def test_what_an_estimator_raises_is_its_trials_failure(fates: Fates, number: int, status: Status, reason: str) -> None:
    assert (fates.trials[number].status, fates.trials[number].error) == (status, reason)


def test_a_trial_that_the_study_stopped_is_pruned_with_its_last_report(fates: Fates) -> None:
    trial = fates.trials[4]
    assert trial.status is Status.PRUNED
    assert [step for step, _ in trial.curve] == [1, 2]
    assert trial.metrics == {"accuracy": 0.2}


def test_a_trial_whose_worker_was_killed_runs_again_under_its_number_before_any_other(fates: Fates) -> None:
    trial = fates.trials[5]
    assert (trial.status, trial.attempt) == (Status.OK, 1)
    kinds = [(e.kind, e.data["number"]) for e in fates.ledger.entries({"retry", "outcome"})]
    assert kinds[kinds.index(("retry", 5)) + 1] == ("outcome", 5)


def test_a_trial_that_kills_each_worker_is_lost_in_the_end_and_ray_tells_why(fates: Fates) -> None:
    assert (fates.trials[6].status, fates.trials[6].attempt) == (Status.LOST, 1)
    assert fates.trials[6].error.startswith("worker: The actor died unexpectedly")
    assert "worker process has died" in fates.trials[6].error


def test_a_failure_of_the_record_in_a_worker_is_not_the_trials_own(fates: Fates) -> None:
    assert fates.trials[7].status is Status.LOST
    assert fates.trials[7].error == "worker: nas_core.errors.OutsideError: storage: cannot write"


def test_a_process_runs_trial_after_trial_until_one_kills_it(fates: Fates) -> None:
    """Starting one takes longer than many a trial; a failed or stopped trial leaves it fit for the next."""
    process = {t.number: t.metrics["process"] for t in fates.trials if t.metrics and "process" in t.metrics}
    assert process.keys() == {0, 1, 5, 8, 10}
    assert process[0] == process[1] != process[5]
    assert process[8] == process[10]


def test_every_trial_has_one_outcome_in_the_ledger(fates: Fates) -> None:
    outcomes = [entry.data["number"] for entry in fates.ledger.entries({"outcome"})]
    assert outcomes == list(range(11))


def test_nothing_of_tune_is_left(fates: Fates) -> None:
    assert list(fates.folder.iterdir()) == []


def test_a_worker_that_does_not_stop_costs_an_attempt_but_no_trial(studies: Any, tmp_path: Path) -> None:
    """Tune finds it unfit for the next trial, and drops that without telling; so it runs again in another process."""

    def estimate(trial: Trial, session: Session) -> Mapping[str, float]:
        try:
            session.report(1, {"accuracy": 0.5})
        finally:
            if trial.number == 0:
                time.sleep(4)
        return {"accuracy": 0.5}

    class Stopper:
        def stop(self, _history: Sequence[Trial], number: int) -> bool:
            return number == 0

    study = studies.open(stopper=Stopper())
    run(study, estimate, tmp_path, Budget(trials=3), max_concurrent=1)
    assert [trial.status for trial in study.history] == [Status.PRUNED, Status.OK, Status.OK]
    assert [trial.attempt for trial in study.history] == [0, 1, 0]


# ---------------------------------------------------------------- where it ends


def test_pending_trials_of_a_killed_run_are_finished_from_their_checkpoints_even_if_no_new_one_may_be_begun(
    studies: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def estimate(_trial: Trial, session: Session) -> Mapping[str, float]:
        found = session.restore()
        return {"accuracy": 0.5, "restored": float((found / "state.json").read_text()) if found else 0.0}

    killed = studies.open()
    killed.ask(2)

    def save(folder: Path) -> None:
        (folder / "state.json").write_text("3")

    Checkpoints(tmp_path).save(1, 0, 3, save)
    study = studies.open()
    run(study, estimate, tmp_path, Budget(trials=2), max_concurrent=1)
    assert [trial.metrics for trial in study.history] == [
        {"accuracy": 0.5, "restored": 0.0},
        {"accuracy": 0.5, "restored": 3.0},
    ]
    assert capfd.readouterr().out == ""  # where a step's result goes


def test_when_the_seconds_are_spent_running_trials_are_finished_and_none_is_begun(studies: Any, tmp_path: Path) -> None:
    def estimate(_trial: Trial, _session: Session) -> Mapping[str, float]:
        time.sleep(0.2)
        return {"accuracy": 0.5}

    study = studies.open()
    run(study, estimate, tmp_path, Budget(seconds=0.3), max_concurrent=1)
    assert 1 <= len(study.history) <= 3
    assert all(trial.status is Status.OK for trial in study.history)
    assert not study.exhausted


def test_a_space_that_has_no_more_ends_the_search(studies: Any, tmp_path: Path) -> None:
    study = studies.open(options=1)
    run(study, lambda *_: {"accuracy": 0.5}, tmp_path, Budget(trials=10), max_concurrent=1)
    assert len(study.history) == 3
    assert study.exhausted


def test_a_gpu_can_be_shared_by_two_trials(studies: Any, tmp_path: Path) -> None:
    """Each trial waits for the other one; Ray tells both the number of the same GPU."""

    def estimate(trial: Trial, session: Session) -> Mapping[str, float]:
        (tmp_path / f"trial-{trial.number}").touch()
        deadline = time.monotonic() + 30
        while len(list(tmp_path.glob("trial-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        gpu = float(os.environ["CUDA_VISIBLE_DEVICES"])
        return {"accuracy": float(session.device == "cuda"), "gpu": gpu, "late": float(time.monotonic() > deadline)}

    study = studies.open()
    run(study, estimate, tmp_path, Budget(trials=2), gpus=0.5)
    assert [trial.metrics for trial in study.history] == [{"accuracy": 1.0, "gpu": 0.0, "late": 0.0}] * 2


def test_a_trial_that_fits_nowhere_is_refused_before_anything_is_recorded(studies: Any, tmp_path: Path) -> None:
    study = studies.open()
    with pytest.raises(InputError, match="ask for less"):
        run(study, lambda *_: {"accuracy": 0.5}, tmp_path, Budget(trials=1), cpus=64)
    assert list(studies.ledger.entries()) == []


# ---------------------------------------------------------------- when all fails


@pytest.mark.parametrize("moment", ["proposals", "report", "outcome"])
def test_a_second_writer_ends_the_search_whatever_it_was_about_to_record(
    studies: Any, tmp_path: Path, moment: str
) -> None:
    """Tune takes exceptions for failed trials and would go on; the last two moments are the last of the search."""

    def intrude(trial: Trial) -> None:
        last = {"proposals": (0, 2, Status.OK), "report": (1, 0, Status.PENDING), "outcome": (1, 2, Status.PENDING)}
        if (trial.number, len(trial.curve), trial.status) == last[moment]:
            Ledger(studies.store).append("intruder", {})

    def estimate(_trial: Trial, session: Session) -> Mapping[str, float]:
        for step in (1, 2):
            session.report(step, {"accuracy": 0.5})
        return {"accuracy": 0.5}

    study = studies.open(on_change=intrude)
    with pytest.raises(FencedError, match="another process has written"):
        run(study, estimate, tmp_path, Budget(trials=2), max_concurrent=1)
    assert [entry.kind for entry in studies.ledger.entries()][-1] == "intruder"


def test_if_every_trial_is_lost_the_search_ends_and_quotes_ray(
    studies: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the workers' image lacks a package."""

    class NotInTheImage:
        def __reduce__(self) -> Any:
            def load() -> None:
                raise ModuleNotFoundError("No module named 'plugin'")

            return load, ()

    plugin = NotInTheImage()
    monkeypatch.setattr(ray_faults, "LEAST_LOST", 2)
    study = studies.open()
    with pytest.raises(OutsideError, match=r"2 trials in a row were lost, .*ModuleNotFoundError: No module named"):
        run(
            study,
            lambda *_: {"accuracy": float(bool(plugin))},
            tmp_path,
            Budget(trials=50),
            max_concurrent=1,
            retries=1,
        )
    assert [(trial.status, trial.attempt) for trial in study.history[:2]] == [(Status.LOST, 1)] * 2
    assert len(study.history) <= 3


# ---------------------------------------------------------------- a Ray of its own

SEARCH = """
import signal, sys, time
from pathlib import Path
from components.backends.ray_tune import RayRunner
from components.backends.signing import load_signer
from components.spec import RayRunnerSpec
from nas_core.interfaces import Rung
from nas_core.ledger import Ledger
from nas_core.store import FolderStore
from nas_core.strategies.random import Random
from nas_core.study import LedgerStudy
from nas_core.types import Budget, Decision, Objective

class Space:
    decisions = (Decision(name="depth", options=tuple(map(str, range(100)))),)

def main():
    class Slow:
        def estimate(self, trial, session):
            for step in range(1000):
                session.report(step, {"accuracy": 0.5})
                time.sleep(0.05)

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    folder, objectives = Path(sys.argv[1]), (Objective(metric="accuracy", goal="max"),)
    study = LedgerStudy(Ledger(FolderStore(folder)), Space(), objectives, Random(Space(), objectives, 0))
    spec = RayRunnerSpec(kind="ray")
    RayRunner(spec, folder, "cycle").run(study, [Rung(1.0, Slow())], Budget(trials=9))

main()
"""
STEP = """
import signal, subprocess, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: None)
print(subprocess.call([sys.executable, *sys.argv[1:]]))
"""


def descendants(parent: int) -> set[int]:
    """Return the ids of all processes that `parent` has started, directly or not."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found, wave = set[int](), {parent}
    while wave:
        wave = {child for child, of in parents.items() if of in wave}
        found |= wave
    return found


def arguments(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")


def listening(processes: set[int]) -> set[str]:
    """Return the addresses, in hexadecimal as /proc has them, on which `processes` wait for TCP connections."""
    sockets = {
        str(link.readlink())
        for process in processes
        for link in Path(f"/proc/{process}/fd").glob("*")
        if link.is_symlink()
    }
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


def ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def step(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A search on a Ray of its own, as a step of a pipeline: in a group of processes that is ended as a whole."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home")}
    with subprocess.Popen(
        [sys.executable, "-c", STEP, "-c", SEARCH, tmp_path / "run"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as step:
        yield step
        if step.poll() is None:
            os.killpg(step.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, -signal.SIGINT, marks=pytest.mark.slow)],
)
def test_a_ray_of_its_own_is_on_loopback_only_and_gone_when_the_search_is_interrupted(
    step: subprocess.Popen[str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "run" / "ledger").glob("*.jsonl"))) < 5:
        assert step.poll() is None, step.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    processes = descendants(step.pid)
    folders = {name for process in processes for name in re.findall(r"=(/\S*?/evernas-ray-\w+)", arguments(process))}
    assert len(folders) == 1
    addresses = listening(processes)
    assert addresses
    assert addresses <= LOOPBACK
    os.killpg(step.pid, number)
    told, _ = step.communicate(timeout=60)
    assert told == f"{code}\n"  # and nothing else: Ray and Tune are silent
    while not all(map(ended, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not any(Path(folder).exists() for folder in folders)
    assert not (tmp_path / "home").exists()  # Ray would put a token there
