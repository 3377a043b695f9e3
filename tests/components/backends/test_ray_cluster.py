from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray

from components.backends import ray_cluster
from components.backends.ray_cluster import connected, one_line
from nas_core.errors import InputError, OutsideError

ROOT = Path(__file__).resolve().parents[3]


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


SLEEPER = """
import sys, time
from components.backends.ray_cluster import _folder
with _folder() as folder:
    print(folder, flush=True)
    time.sleep(100)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_a_living_one_has_is_not() -> None:
    def start() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout
        return process, Path(process.stdout.readline().strip())

    (dead, left), (alive, used) = start(), start()
    with dead, alive:
        try:
            assert str(dead.pid) in left.name
            assert left.is_dir()
            dead.kill()
            dead.wait()
            with ray_cluster._folder() as own:
                assert not left.exists()
                assert used.is_dir()
                assert Path(own).is_dir()
            assert not Path(own).exists()
        finally:
            alive.kill()
    shutil.rmtree(used)


DEAD = """Failure # 1 (occurred at 2026-11-24_05-54-46)
The actor died unexpectedly before finishing this task.
\tclass_name: wrap_function.<locals>.ImplicitFunc
\tactor_id: a37afb583a7f34f9b20e593901000000
\tpid: 15985
\tnamespace: 655d3b64
\tip: 127.0.0.1
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR
"""
STARVED = """1 worker(s) were killed due to the node running low on memory.
Top 10 memory users: PID	MEM(GB)	COMMAND
30965	1.93	ray::A.hog
Refer to the documentation on how to address the out of memory issue."""
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
        (STARVED, " ".join(STARVED.splitlines())),
        (RAISED, "nas_core.errors.OutsideError: storage: full"),
        (ValueError("one\n two"), "one two"),
        ("", ""),
    ],
)
def test_what_ray_tells_becomes_one_line(told: object, line: str) -> None:
    assert one_line(told) == line
