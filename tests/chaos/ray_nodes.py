"""A Ray cluster of several machines, as far as Ray knows, on this one: for tests, and for faults that kill some."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_NODES = """
import components.backends, json, sys
from ray.cluster_utils import Cluster

options = json.loads(sys.argv[1])
common = {"include_dashboard": False, "object_store_memory": 80 * 1024**2, "temp_dir": sys.argv[2]}
head = {**common, "num_cpus": 0, **options[0]}
cluster = Cluster(initialize_head=True, head_node_args=head)
nodes = [cluster.add_node(wait=False, **{**common, **more}) for more in options[1:]]
cluster.wait_for_nodes()
pids = [node.all_processes["raylet"][0].process.pid for node in nodes]
print(json.dumps([cluster.address, [node.node_id for node in nodes], pids]), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@dataclass(frozen=True)
class Nodes:
    """A running cluster: its address, and the ids of its machines but the head's."""

    address: str
    ids: Sequence[str]
    raylets: Sequence[int]

    def kill(self, node: str) -> None:
        """End a machine and all that runs on it; by themselves, its workers would go on for a while."""
        raylet = self.raylets[self.ids.index(node)]
        workers = _children(raylet)
        for process in (raylet, *workers):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


@contextmanager
def nodes(*machines: Mapping[str, Any], head: Mapping[str, Any] | None = None, **environment: str) -> Iterator[Nodes]:
    """Start a cluster of `machines`, each by the options of `ray.cluster_utils.Cluster.add_node`.

    The head has no CPU, and so no trial, but for what `head` says. `environment` is that of all its processes.
    """
    with TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        script = [sys.executable, "-c", _NODES, json.dumps([head or {}, *machines]), folder]
        settings = {"RAY_AUTH_MODE": "disabled", "TUNE_FUNCTION_THREAD_TIMEOUT_S": "1", **environment}
        process = subprocess.Popen(
            script,
            env={**os.environ, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert process.stdin
        assert process.stdout
        try:
            address, ids, raylets = _last_line(process.stdout)
            yield Nodes(address, ids, raylets)
        finally:
            process.stdin.close()
            process.wait(60)
            process.stdout.close()


def _last_line(lines: Iterator[str]) -> Any:
    """Return what the script tells; Ray may have said something before."""
    for line in lines:
        if line.startswith("["):
            return json.loads(line)
    raise RuntimeError("the cluster did not start")
