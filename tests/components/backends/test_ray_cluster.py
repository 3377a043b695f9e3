from __future__ import annotations

import signal
import time

import pytest
import ray

from components.backends.ray_cluster import connected, one_line, places
from components.spec import RayRunnerSpec
from nas_core.errors import InputError, OutsideError


def spec(**options: object) -> RayRunnerSpec:
    return RayRunnerSpec.model_validate({"kind": "ray", "address": "auto", **options})


def test_joining_leaves_the_cluster_as_it_was(cluster: str) -> None:
    for _ in range(2):
        with connected("auto"):
            assert ray.get_runtime_context().gcs_address == cluster
        assert not ray.is_initialized()


def test_a_connection_that_is_there_is_used_and_left(cluster: str) -> None:
    with connected(cluster):
        with connected("auto"):
            pass
        assert ray.is_initialized()
        with pytest.raises(InputError, match="connected to a Ray already; use 'auto'"), connected("local"):
            pass
        assert ray.is_initialized()


@pytest.mark.usefixtures("cluster")
def test_this_process_keeps_its_own_handler_of_sigterm() -> None:
    def mine(*_: object) -> None: ...

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with connected("auto"):
            assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("cluster")
def test_as_many_trials_run_as_fit_on_the_machines() -> None:
    """Two CPUs and a GPU."""
    with connected("auto"):
        assert places(spec()) == 2
        assert places(spec(cpus=0.5)) == 4
        assert places(spec(cpus=0.5, max_concurrent=3)) == 3
        assert places(spec(gpus=1)) == 1
        assert places(spec(cpus=0.1, gpus=0.3)) == 3
        assert places(spec(max_concurrent=9)) == 2


@pytest.mark.usefixtures("cluster")
def test_a_trial_that_fits_on_no_machine_is_refused() -> None:
    asks = "asks for 3 CPUs and 0 GPUs of one machine, those of the cluster have 2 CPUs, 1 GPUs; ask for less"
    with connected("auto"):
        with pytest.raises(InputError, match=asks):
            places(spec(cpus=3))
        with pytest.raises(InputError, match="asks for 1 CPUs and 2 GPUs"):
            places(spec(gpus=2))
        with pytest.raises(InputError, match=r"gpus: more than one must be a whole number, got 1\.5"):
            places(spec(gpus=1.5))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "Ray Client's.*submit the run as a job and use 'auto'"),
        ("nonsense", "use 'local', 'auto' or host:port"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(address: str, message: str) -> None:
    with pytest.raises(InputError, match=message), connected(address):
        pass


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:9"])
def test_where_nobody_listens_nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(OutsideError, match=f"no Ray at '{address}' .*refused"), connected(address):
        pass
    assert time.monotonic() - began < 5


DEAD = """Failure # 1 (occurred at 2026-11-24_05-54-46)
The actor died unexpectedly before finishing this task.
\tclass_name: wrap_function.<locals>.ImplicitFunc
\tactor_id: a37afb583a7f34f9b20e593901000000
\tpid: 15985
\tnamespace: 655d3b64
\tip: 127.0.0.1
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR
"""
RAISED = """Failure # 1 (occurred at 2026-11-24_05-54-51)
\x1b[36mray::ImplicitFunc.train()\x1b[39m (pid=16089, ip=127.0.0.1)
  File "train.py", line 10, in estimate
    raise OutsideError("storage: full")
nas_core.errors.OutsideError: storage: full
"""


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (
            DEAD,
            (
                "The actor died unexpectedly before finishing this task. "
                "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR"
            ),
        ),
        (RAISED, "nas_core.errors.OutsideError: storage: full"),
        (ValueError("one\n two"), "one two"),
        ("", ""),
    ],
)
def test_what_ray_tells_becomes_one_line(told: object, line: str) -> None:
    assert one_line(told) == line
