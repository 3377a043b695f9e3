"""Serves a bundle over HTTP in the Open Inference Protocol v2, on ONNX Runtime; starts without torch or pandas.

`python -m components.deploy.server PATH [--host HOST] [--port PORT] [--threads N] [--key FINGERPRINT]`
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from components.bundle import Model, is_bundle, open_model
from components.champion import bundle_folder, champion
from components.deploy import protocol
from nas_core.errors import EvernasError, InputError

_GRACE_SECONDS = 20
Endpoint = Callable[[Request], Awaitable[JSONResponse]]


@dataclass(frozen=True)
class Limits:
    """What a single request may be: its rows, and the bytes of its body."""

    rows: int = 10_000
    body: int = 16 * 2**20


def serve(
    path: Path,
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    threads: int = 1,
    key: str | None = None,
    limits: Limits | None = None,
) -> None:
    """Serve the bundle in folder `path`, or the champion if it is a folder of champions, until SIGTERM or SIGINT.

    Says `serving NAME DIGEST on URL` on standard output once it listens; port 0 takes a free one. Requests that are
    running when the signal comes are answered. `threads` are ONNX Runtime's for one request. InputError if there is no
    bundle, or the port cannot be had; IntegrityError if the bundle was changed, or if the fingerprint `key` is given
    and the bundle is signed by another key.
    """
    model = open_bundle(path, threads, key)
    with _listen(host, port) as listener:
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{listener.getsockname()[1]}"
        sys.stdout.write(f"serving {model.name} {_version(model)} on {url}\n")
        sys.stdout.flush()
        config = uvicorn.Config(
            application(model, limits or Limits()),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listener])


def open_bundle(path: Path, threads: int = 1, key: str | None = None) -> Model:
    """Open the bundle in folder `path`, or the champion if it is a folder of champions; errors as `serve`."""
    if is_bundle(path):
        return open_model(path, key=key, threads=threads)
    current = champion(path)
    if current is None:
        raise InputError(f"{path}: neither a bundle nor a folder with a champion; deploy a model first")
    return open_model(bundle_folder(path, current.digest), current.digest, key, threads)


def application(model: Model, limits: Limits) -> Starlette:
    """Return the ASGI application that serves `model`."""
    base = "/v2/models/{name}"
    return Starlette(
        routes=[
            Route("/v2", _always({"name": "evernas", "version": version("evernas"), "extensions": []})),
            Route("/v2/health/live", _always({"live": True})),
            Route("/v2/health/ready", _always({"ready": True})),
            Route(base, _of(model, _always({**_metadata(model)}))),
            Route(f"{base}/ready", _of(model, _always({"name": model.name, "ready": True}))),
            Route(f"{base}/infer", _of(model, _infer(model, limits)), methods=["POST"]),
        ],
        exception_handlers={InputError: _bad_request, HTTPException: _http_error, Exception: _internal_error},
    )


def predict(model: Model, body: bytes, max_rows: int) -> JSONResponse:
    """Answer one inference request; InputError tells what is wrong with it."""
    request = protocol.parse(body, model.signature, max_rows)
    probabilities = model.predict(request.columns)
    if not np.isfinite(probabilities).all():
        raise InputError("inputs: a value is too large for the model to give probabilities")
    return JSONResponse(protocol.response(model.signature, _version(model), request, probabilities))


def _infer(model: Model, limits: Limits) -> Endpoint:
    async def endpoint(request: Request) -> JSONResponse:
        if "inference-header-content-length" in request.headers:
            raise InputError("request: binary tensors are not supported, send JSON")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limits.body:
                raise InputError(f"request: more than {limits.body} bytes; send fewer rows at a time")
        # In a thread, so that health checks are answered while a large request is computed.
        return await asyncio.to_thread(predict, model, bytes(body), limits.rows)

    return endpoint


def _always(answer: dict[str, object]) -> Endpoint:
    async def endpoint(_: Request) -> JSONResponse:
        return JSONResponse(answer)

    return endpoint


def _of(model: Model, endpoint: Endpoint) -> Endpoint:
    """Return `endpoint` for requests that name our model; 404 for others."""

    async def checked(request: Request) -> JSONResponse:
        name = request.path_params["name"]
        if name != model.name:
            raise HTTPException(404, f"no model {name!r} here; this server has {model.name!r}")
        return await endpoint(request)

    return checked


def _metadata(model: Model) -> dict[str, object]:
    return {
        "name": model.name,
        "versions": [_version(model)],
        **{key: model.signature[key] for key in ("platform", "inputs", "outputs")},
    }


def _version(model: Model) -> str:
    return model.digest[:12]


async def _bad_request(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 400)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    return JSONResponse({"error": f"{request.method} {request.url.path}: {detail}"}, status)


async def _internal_error(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"error": "internal error; the server's log has the reason"}, 500)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).partition(" (")[0]
        raise InputError(f"port: cannot listen on {host}:{port} ({reason}); choose another") from error


def main(arguments: list[str] | None = None) -> int:
    """Serve what the command line names, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m components.deploy.server", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("path", type=Path, help="the folder of a bundle, or of a deployment's champions")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8080, help="the port; 0 takes a free one")
    parser.add_argument("--threads", type=int, default=1, help="threads for one request")
    parser.add_argument("--key", help="fingerprint of the key that must have signed the bundle")
    parser.add_argument("--max-rows", type=int, default=Limits.rows, help="rows in one request")
    parser.add_argument("--max-bytes", type=int, default=Limits.body, help="bytes of one request")
    given = parser.parse_args(arguments)
    try:
        serve(
            given.path,
            given.host,
            given.port,
            threads=given.threads,
            key=given.key,
            limits=Limits(given.max_rows, given.max_bytes),
        )
    except EvernasError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
