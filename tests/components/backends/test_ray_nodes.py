"""Several machines, as far as Ray knows: where trials run, and where they run again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray

from components.backends.ray_cluster import connected
from components.backends.ray_places import Places, places
from nas_core.errors import InputError
from nas_core.interfaces import Session
from nas_core.types import Budget, Status, Trial
from tests.chaos.ray_nodes import Nodes, nodes
from tests.components.backends.ray_running import Estimate, run, spec

MB = 10**6


@pytest.fixture(scope="module", autouse=True)
def cluster_of_two() -> Iterator[Nodes]:
    """One with disks and a GPU of one kind, one without disks and with another kind."""
    first = {"num_cpus": 1, "num_gpus": 1, "memory": 900 * MB, "resources": {"disk": 2, "accelerator_type:A100": 1}}
    second = {"num_cpus": 1, "num_gpus": 1, "memory": 400 * MB, "resources": {"accelerator_type:T4": 1}}
    with nodes(first, second) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", cluster.address)
        with connected(cluster.address):
            yield cluster


def together(folder: Path, count: int, then: Callable[[Trial], None] = lambda _: None) -> Estimate:
    """Return an estimate that says where it runs when `count` trials do at a time."""

    def estimate(trial: Trial, _session: Session) -> Mapping[str, float]:
        node, gpu = ray.get_runtime_context().get_node_id(), os.environ.get("CUDA_VISIBLE_DEVICES", "")
        (folder / f"trial-{trial.number}-{trial.attempt}").write_text(f"{node} {gpu}")
        deadline = time.monotonic() + 40
        while len(list(folder.glob("trial-*"))) < count:
            if time.monotonic() > deadline:
                raise RuntimeError("the others did not come")
            time.sleep(0.05)
        then(trial)
        return {"accuracy": 0.5}

    return estimate


def seen(folder: Path) -> list[tuple[str, str]]:
    """Return machine and GPU of each attempt, in order."""
    told = [path.read_text().split(" ") for path in sorted(folder.glob("trial-*"))]
    return [(node, gpu) for node, gpu in told]


def test_trials_run_on_all_machines_at_once(studies: Any, tmp_path: Path, cluster_of_two: Nodes) -> None:
    study = studies.open()
    run(study, together(tmp_path, 2), tmp_path, Budget(trials=2))
    assert [trial.status for trial in study.history] == [Status.OK] * 2, study.history
    assert {node for node, _ in seen(tmp_path)} == set(cluster_of_two.ids)


def test_a_gpu_is_shared_by_two_trials_on_each_machine(studies: Any, tmp_path: Path, cluster_of_two: Nodes) -> None:
    study = studies.open()
    run(study, together(tmp_path, 4), tmp_path, Budget(trials=4), cpus=0.25, gpus=0.5)
    assert [trial.status for trial in study.history] == [Status.OK] * 4, study.history
    assert sorted(seen(tmp_path)) == sorted([(node, "0") for node in cluster_of_two.ids] * 2)


@pytest.mark.parametrize(
    ("options", "machine"),
    [
        pytest.param({"resources": {"disk": 1}, "cpus": 0.5}, 0, marks=pytest.mark.slow),
        ({"accelerator_type": "T4", "gpus": 0.5, "cpus": 0.5}, 1),
        pytest.param({"memory_mb": 450, "cpus": 0.5}, 0, marks=pytest.mark.slow),
    ],
)
def test_a_trial_runs_where_there_is_what_it_asks_for(
    studies: Any, tmp_path: Path, cluster_of_two: Nodes, options: dict[str, Any], machine: int
) -> None:
    study = studies.open()
    run(study, together(tmp_path, 2), tmp_path, Budget(trials=2), **options)
    assert [node for node, _ in seen(tmp_path)] == [cluster_of_two.ids[machine]] * 2


def test_after_its_worker_died_a_trial_runs_on_another_machine(studies: Any, tmp_path: Path) -> None:
    study = studies.open()

    def die(trial: Trial) -> None:
        if trial.attempt == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    run(study, together(tmp_path, 1, die), tmp_path, Budget(trials=4), max_concurrent=1)
    assert [(trial.status, trial.attempt) for trial in study.history] == [(Status.OK, 1)] * 4
    nodes_of = [node for node, _ in seen(tmp_path)]  # two attempts of each trial
    assert all(first != second for first, second in zip(nodes_of[::2], nodes_of[1::2], strict=True))


@pytest.mark.slow
def test_it_runs_on_the_same_one_if_it_fits_nowhere_else(studies: Any, tmp_path: Path, cluster_of_two: Nodes) -> None:
    study = studies.open()

    def die(trial: Trial) -> None:
        if trial.attempt == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    run(study, together(tmp_path, 1, die), tmp_path, Budget(trials=1), resources={"disk": 1})
    assert (study.history[0].status, study.history[0].attempt) == (Status.OK, 1)
    assert [node for node, _ in seen(tmp_path)] == [cluster_of_two.ids[0]] * 2


def test_as_many_trials_run_as_fit_on_the_machines() -> None:
    assert places(spec()) == 2
    assert places(spec(cpus=0.1)) == 20
    assert places(spec(cpus=0.1, max_concurrent=3)) == 3
    assert places(spec(max_concurrent=9)) == 2
    assert places(spec(cpus=0.1, gpus=0.3)) == 6
    assert places(spec(cpus=0.1, memory_mb=300)) == 4
    assert places(spec(cpus=0.1, resources={"disk": 0.5})) == 4
    assert places(spec(cpus=0.1, gpus=0.5, accelerator_type="A100")) == 2


def test_only_machines_where_a_trial_fits_are_others(cluster_of_two: Nodes) -> None:
    first, second = cluster_of_two.ids
    anywhere, disk = Places(spec()), Places(spec(resources={"disk": 1}))
    assert set(anywhere.fitting()) == {first, second}
    assert anywhere.fitting({first}) == [second]
    assert disk.fitting({first}) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"cpus": 3},
            r"asks for 3 CPUs, 0 GPUs of one machine, .* have .*1 CPUs, 1 GPUs and 1 CPUs, 1 GPUs.*; ask for less",
        ),
        ({"gpus": 2}, "asks for 1 CPUs, 2 GPUs of one machine"),
        ({"gpus": 1.5}, r"gpus: more than one must be a whole number, got 1\.5"),
        ({"memory_mb": 5000}, r"5000 MB of memory of one machine.* 900 MB of memory"),
        ({"resources": {"disk": 3}}, r"3 disk of one machine.*2 disk.*0 disk"),
        ({"gpus": 1, "accelerator_type": "H100"}, r"of the kind H100 of one machine.*of the kind A100"),
        ({"resources": {"GPU": 1}}, r"resources: GPU has a key of its own; set gpus instead"),
    ],
)
def test_what_fits_on_no_machine_is_refused_with_what_is_asked_and_what_is_there(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        places(spec(**options))
