"""`mlflow server` on a SQLite file, as a process that can be killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Server:
    """The application that `mlflow server` serves; its artifacts go through it too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        application = [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app"]
        command = [*application, "--host", "127.0.0.1", "--port", str(self.port)]
        environment = {
            **os.environ,
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{self.root / 'mlflow.db'}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(self.root / "artifacts"),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        }
        with (self.root / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.root, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self.answers, 60)

    def answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:  # noqa: S310  its own
            return bool(answer.status == 200)
        return False

    def kill(self) -> None:
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@contextmanager
def mlflow_server(root: Path, tables: Path | None = None) -> Iterator[Server]:
    """Run a server in `root`; `tables` is an empty database to begin with, which is quicker than making one."""
    root.mkdir(parents=True, exist_ok=True)
    if tables:
        shutil.copy(tables, root / "mlflow.db")
    server = Server(root)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)
