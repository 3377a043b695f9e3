"""A connection to Ray for a while: a cluster of our own on this machine, or the one that is there."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray

from nas_core.errors import InputError, OutsideError

LOCAL = "local"
_OBJECT_STORE_BYTES = 512 * 1024**2
_SECONDS_TO_ANSWER = 10
_PLACE, _PREFIX, _LOCK = "/tmp", "evernas-ray-", "lock"  # noqa: S108  a folder of its own there, for its user only
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
    with _folder() as folder:
        try:
            _connect(address, folder)
            yield
        except ray.exceptions.RayError as error:
            raise OutsideError(f"Ray: {one_line(error)}") from error
        finally:
            ray.shutdown()


@contextmanager
def _folder() -> Iterator[str]:
    """Give a folder for a Ray of our own that is gone at the end; remove those of processes that were killed.

    Its name holds the process id, and a lock says whether that process lives, since containers with ids of their own
    may share the place. Ray's sockets need a short path; its own folders would be open to everybody.
    """
    for left in Path(_PLACE).glob(f"{_PREFIX}*"):
        _sweep(left)
    name = f"{_PREFIX}{os.getpid()}_"
    temporary = TemporaryDirectory(prefix=name, dir=_PLACE, ignore_cleanup_errors=True)
    with temporary as folder, Path(folder, _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _sweep(folder: Path) -> None:
    """Remove `folder` if it is of a process that is no more."""
    process = folder.name.removeprefix(_PREFIX).partition("_")[0]
    if not process.isdecimal() or Path("/proc", process).exists():
        return
    with suppress(OSError), (folder / _LOCK).open() as lock:  # no lock: it is being made, or not ours
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def one_line(told: object) -> str:
    """Return what Ray says, an error or its text, on one line: of a remote stack its end, else all but the numbers."""
    lines = [line.strip() for line in str(told).splitlines() if line.strip()]
    if any(line.startswith("Traceback") or ("ray::" in line and "(pid=" in line) for line in lines):
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
