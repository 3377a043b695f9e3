"""A connection to Ray for a while: a cluster of our own on this machine, or the one that is there."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any

import ray

from components.spec import RayRunnerSpec
from nas_core.errors import InputError, OutsideError

LOCAL = "local"
_OBJECT_STORE_BYTES = 512 * 1024**2
_SECONDS_TO_ANSWER = 10
_NUMBERS = ("Failure #", "class_name:", "actor_id:", "pid:", "namespace:", "ip:")


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to the Ray at `address`, and disconnect at the end.

    `local` starts a cluster that only this machine, and only who has its token, can reach, and of which nothing is left
    at the end. Any other address, or `auto` for the cluster that this process runs on, joins; a connection that is
    there already is used and left. InputError for an address that cannot be one, OutsideError if Ray fails.
    """
    if address.startswith("ray://"):
        raise InputError(
            f"search.runner.address: {address} is Ray Client's, under which the search would run in another process; "
            "submit the run as a job and use 'auto'"
        )
    if ray.is_initialized():
        if address == LOCAL:
            raise InputError("search.runner.address: this process is connected to a Ray already; use 'auto'")
        yield
        return
    # Ray's sockets need a short path; its own folders would be open to everybody.
    with TemporaryDirectory(prefix="evernas-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        try:
            _connect(address, folder)
            yield
        except ray.exceptions.RayError as error:
            raise OutsideError(f"Ray: {one_line(error)}") from error
        finally:
            ray.shutdown()


def places(spec: RayRunnerSpec) -> int:
    """Return how many trials fit on the cluster's machines at a time, at most the spec's `max_concurrent`.

    InputError if none does, or if more than one GPU is asked for by a fraction, which Ray cannot give.
    """
    if spec.gpus > 1 and not spec.gpus.is_integer():
        raise InputError(f"search.runner.gpus: more than one must be a whole number, got {spec.gpus}")
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fit = sum(_fit(spec, machine.get("CPU", 0), machine.get("GPU", 0)) for machine in machines)
    if fit < 1:
        have = " and ".join(f"{m.get('CPU', 0):g} CPUs, {m.get('GPU', 0):g} GPUs" for m in machines)
        raise InputError(
            f"search.runner: a trial asks for {spec.cpus:g} CPUs and {spec.gpus:g} GPUs of one machine, those of the "
            f"cluster have {have}; ask for less"
        )
    return min(fit, spec.max_concurrent or fit)


def _fit(spec: RayRunnerSpec, cpus: float, gpus: float) -> int:
    by_cpu = int(cpus / spec.cpus)
    if not spec.gpus:
        return by_cpu
    return min(by_cpu, int(gpus) * int(1 / spec.gpus) if spec.gpus < 1 else int(gpus / spec.gpus))


def one_line(told: object) -> str:
    """Return what Ray says, an error or its text, on one line: of a remote stack its end, else all but the numbers."""
    lines = [line.strip() for line in str(told).splitlines() if line.strip()]
    if any(line.startswith("Traceback") or "ray::" in line for line in lines):
        return lines[-1]
    return " ".join(line for line in lines if not line.startswith(_NUMBERS))


def _connect(address: str, folder: str) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES, "_temp_dir": folder}
        if "RAY_AUTH_TOKEN_PATH" not in os.environ:  # or Ray would put one into the user's home, for all to read
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        _knock(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
        with _own_handler(signal.SIGTERM), _other_group():
            ray.init(address=address, **options)
    except ValueError as error:
        raise InputError(f"search.runner.address: {error}; use 'local', 'auto' or host:port") from error
    except (OSError, OverflowError, RuntimeError) as error:
        raise OutsideError(
            f"search.runner.address: no Ray at {address!r} ({error}); start one, or use 'local'"
        ) from error


def _knock(address: str) -> None:
    """Raise OSError if nobody listens at `host:port`, which takes Ray a quarter of an hour to find out."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()


@contextmanager
def _own_handler(number: int) -> Iterator[None]:
    """Keep this process's handler of a signal: Ray puts its own there, which ends the process on the spot."""
    before = signal.getsignal(number)
    main = threading.current_thread() is threading.main_thread()
    try:
        yield
    except SystemExit:  # Ray's, because the signal came meanwhile
        if main and callable(before):
            before(number, None)
        raise
    finally:
        if main:
            signal.signal(number, before)


@contextmanager
def _other_group() -> Iterator[None]:
    """Start what is started meanwhile in a process group of its own.

    So a signal to our group ends this process, which then ends Ray in good order; if Ray's were hit as well, they would
    take this process down with them at once. Who leads a session cannot leave it, and has to live with that.
    """
    group = os.getpgrp()
    with suppress(PermissionError):
        os.setpgid(0, 0)
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.setpgid(0, group)
