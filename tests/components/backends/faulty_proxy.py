"""A proxy on loopback that does to requests what networks and busy servers do to them."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Plan = Callable[[str, str], str]
"""Gives, for a method and a path, what happens to the request: one of the keys of `FAULTS`, or "" for nothing."""

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}


class FaultyProxy:
    """Passes requests on to `upstream`; `plan` may be set at any time, `log` has (method, path, fault) of each."""

    def __init__(self, upstream: str, plan: Plan = lambda _method, _path: "") -> None:
        self.plan = plan
        self.log: list[tuple[str, str, str]] = []
        parts = urlsplit(upstream)
        assert parts.hostname
        assert parts.port
        self.host, self.port = parts.hostname, parts.port
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def plan_once(self, *faults: str, method: str = "") -> None:
        """Let these faults happen to the next requests of `method`, one each, and none after."""
        left, lock = list(faults), threading.Lock()

        def plan(asked: str, _: str) -> str:
            with lock:
                return left.pop(0) if left and asked.startswith(method) else ""

        self.plan = plan

    def faults(self) -> list[str]:
        """Return the faults that have happened."""
        return [fault for _, _, fault in self.log if fault]


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    """Run a proxy in front of `upstream`."""
    proxy = FaultyProxy(upstream)
    proxy._thread.start()
    try:
        yield proxy
    finally:
        proxy._server.shutdown()
        proxy._thread.join()
        proxy._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultyProxy

    def log_message(self, *_: Any) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.owner.plan(self.command, self.path)
        self.owner.log.append((self.command, self.path, fault))
        if fault in _REFUSALS:
            self._answer(*_REFUSALS[fault])
        elif fault == "cut before":
            self._cut()
        else:
            if fault == "slow":
                time.sleep(0.3)
            status, headers, data = self._upstream(body)
            if fault == "cut after":
                self._cut()
            elif fault == "cut half-way" and len(data) > 1:
                self._head(status, headers, len(data))
                self.wfile.write(data[: len(data) // 2])
                self._cut()
            else:
                if fault == "flip" and data:
                    data = bytes([data[0] ^ 1]) + data[1:]
                self._head(status, headers, len(data))
                if self.command != "HEAD":
                    self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - the names that the base class looks for

    def _upstream(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.owner.host, self.owner.port, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            data = answer.read()
            if self.command == "HEAD":
                self.length = answer.getheader("Content-Length") or "0"
            return answer.status, answer.getheaders(), data
        finally:
            connection.close()

    def _head(self, status: int, headers: list[tuple[str, str]], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", self.length if self.command == "HEAD" else str(length))
        self.end_headers()

    def _answer(self, status: int, code: str) -> None:
        data = (
            b"" if self.command == "HEAD" else f"<Error><Code>{code}</Code><Message>planned</Message></Error>".encode()
        )
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _cut(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()


_REFUSALS = {
    "503": (503, "ServiceUnavailable"),
    "slow down": (503, "SlowDown"),
    "500": (500, "InternalError"),
    "403": (403, "AccessDenied"),
    "no upload": (404, "NoSuchUpload"),
    "409": (409, "ConditionalRequestConflict"),
}
FAULTS = (*_REFUSALS, "cut before", "cut after", "cut half-way", "slow", "flip")
