"""The Open Inference Protocol and TorchServe's API over HTTP, as routes. Both ask the server."""

import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from agents.serving import metrics, oip, torchserve
from agents.serving.config import HttpConfig
from agents.serving.oracle import Oracle, Unanswered
from grid.errors import ProtocolError
from grid.serving import wire

type Handler = Callable[[Request], Awaitable[Response]]

_JSON: Final = "application/json"
_PAGE: Final = 100
# code -> HTTP status in the Open Inference Protocol's routes
_STATUS: Final[dict[wire.Code, int]] = {
    "UNKNOWN_MODEL": 404,
    "BAD_INPUT": 400,
    "OVERLOADED": 429,
    "EXPIRED": 504,
    "UNAVAILABLE": 503,
    "REFUSED": 400,
    "FAILED": 500,
}


def build(oracle: Oracle, config: HttpConfig, version: str) -> Starlette:
    """Return the ASGI app.

    Args:
        oracle: asks the server.
        config: the section `[http]`.
        version: of this program, for the metadata.
    """
    timeout_s = config.timeout_ms / 1e3
    routes = [
        *_open_inference(oracle, timeout_s, version, config.management),
        *_torchserve(oracle, timeout_s),
        Route("/metrics", _metrics(oracle), methods=["GET"]),
    ]
    if config.management:
        routes += _management(oracle)
    guards = [Middleware(_Guard, token=config.token)]
    return Starlette(routes=routes, middleware=guards)


class _Guard:
    """Lets in who brings the token, and no web page, which any visitor's browser would send."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._wanted = f"Bearer {token}".encode() if token else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            if b"origin" in headers:
                refused = _error(403, "requests of web pages are not served")
                return await refused(scope, receive, send)
            found = headers.get(b"authorization", b"")
            if self._wanted and not hmac.compare_digest(found, self._wanted):
                refused = _error(401, "expected the token as Authorization: Bearer")
                refused.headers["WWW-Authenticate"] = "Bearer"
                return await refused(scope, receive, send)
        await self._app(scope, receive, send)


# -- the Open Inference Protocol -------------------------------------------------------------------


def _open_inference(
    oracle: Oracle, timeout_s: float, version: str, management: bool
) -> list[Route]:
    async def server(request: Request) -> Response:
        return _json({"name": oip.SERVER, "version": version, "extensions": list(oip.EXTENSIONS)})

    async def live(request: Request) -> Response:
        return _json({"live": True})

    async def ready(request: Request) -> Response:
        is_ready = all(m.workers for m in await oracle.models())
        return _json({"ready": is_ready}, 200 if is_ready else 503)

    async def metadata(request: Request) -> Response:
        return _json(oip.metadata(*await _named(oracle, request)))

    async def model_ready(request: Request) -> Response:
        model, found = await _named(oracle, request)
        is_ready = bool(model.workers)
        said = {"name": model.name, "version": found.version, "ready": is_ready}
        return _json(said, 200 if is_ready else 503)

    async def infer(request: Request) -> Response:
        name = request.path_params["model"]
        asked = oip.read(await _body(request), request.headers.get(oip.HEADER_LENGTH))
        prediction = await oracle.predict(
            name, asked.obs, _version(request), asked.timeout_s or timeout_s
        )
        body, header = oip.answer(asked, name, prediction)
        if header is None:
            return Response(body, media_type=_JSON)
        length = {"Inference-Header-Content-Length": str(header)}
        return Response(body, media_type="application/octet-stream", headers=length)

    async def index(request: Request) -> Response:
        return _json(oip.index(await oracle.models()))

    async def load(request: Request) -> Response:
        name = request.path_params["model"]
        known = {m.name: m.source for m in await oracle.models()}
        await oracle.ask(wire.Register(0, known.get(name, f"model:{name}"), name))
        return _json({})

    async def unload(request: Request) -> Response:
        await oracle.ask(wire.Unregister(0, request.path_params["model"]))
        return _json({})

    one, versions = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    found = [
        ("/v2", server, "GET"),
        ("/v2/health/live", live, "GET"),
        ("/v2/health/ready", ready, "GET"),
        *((f"{at}", metadata, "GET") for at in (one, versions)),
        *((f"{at}/ready", model_ready, "GET") for at in (one, versions)),
        *((f"{at}/infer", infer, "POST") for at in (one, versions)),
        ("/v2/repository/index", index, "POST"),
    ]
    if management:
        found += [
            ("/v2/repository/models/{model}/load", load, "POST"),
            ("/v2/repository/models/{model}/unload", unload, "POST"),
        ]
    return [Route(path, _told(run, _plain), methods=[method]) for path, run, method in found]


# -- TorchServe ------------------------------------------------------------------------------------


def _torchserve(oracle: Oracle, timeout_s: float) -> list[Route]:
    async def ping(request: Request) -> Response:
        healthy = all(m.workers for m in await oracle.models())
        return _json({"status": "Healthy" if healthy else "Unhealthy"}, 200 if healthy else 500)

    async def predict(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        numbers = torchserve.read(await _body(request), content_type)
        found = await oracle.predict(
            request.path_params["model"], numbers.obs, _version(request), timeout_s
        )
        headers = {"X-Model-Version": found.version, "X-Model-Digest": found.digest}
        return Response(torchserve.answer(numbers, found), media_type=_JSON, headers=headers)

    predictions = _told(predict, torchserve.error)
    methods = ["GET", "POST", "PUT"]
    return [
        Route("/ping", _told(ping, torchserve.error), methods=["GET"]),
        Route("/predictions/{model}", predictions, methods=methods),
        Route("/predictions/{model}/{version}", predictions, methods=methods),
    ]


def _management(oracle: Oracle) -> list[Route]:
    async def listing(request: Request) -> Response:
        query = request.query_params
        limit, first = (
            _whole(query.get(name, default), name)
            for name, default in (("limit", str(_PAGE)), ("next_page_token", "0"))
        )
        return _json(torchserve.listing(await oracle.models(), limit, first))

    async def register(request: Request) -> Response:
        query = request.query_params
        asked = wire.Register(0, query.get("url", ""), query.get("model_name", ""))
        done = await oracle.ask(asked)
        said = f'Model "{done.model}" Version: {done.version} registered with 1 initial workers'
        return _json({"status": said})

    async def describe(request: Request) -> Response:
        model, found = await _named(oracle, request)
        wanted = request.path_params.get("version", "")
        versions = model.versions if wanted == "all" else (found,)
        return _json([torchserve.description(model, v, os.getpid()) for v in versions])

    async def scale(request: Request) -> Response:
        query, name = request.query_params, request.path_params["model"]
        workers = _whole(query.get("min_worker", query.get("max_worker", "1")), "min_worker")
        await oracle.ask(wire.Scale(0, name, min(workers, 1)))
        if query.get("synchronous", "false") == "true":
            return _json({"status": f"Workers scaled to {min(workers, 1)} for model: {name}"})
        return _json({"status": "Processing worker updates..."}, 202)

    async def default(request: Request) -> Response:
        name, version = request.path_params["model"], request.path_params["version"]
        await oracle.ask(wire.SetDefault(0, name, version))
        # the word is TorchServe's, and clients may compare it
        said = f'Default version succesfully updated for model "{name}" to "{version}"'
        return _json({"status": said})

    async def unregister(request: Request) -> Response:
        name = request.path_params["model"]
        await oracle.ask(wire.Unregister(0, name, _version(request)))
        return _json({"status": f'Model "{name}" unregistered'})

    one, versions = "/models/{model}", "/models/{model}/{version}"
    found: list[tuple[str, Handler, str]] = [
        ("/models", listing, "GET"),
        ("/models", register, "POST"),
        (f"{versions}/set-default", default, "PUT"),
        *((at, describe, "GET") for at in (one, versions)),
        *((at, scale, "PUT") for at in (one, versions)),
        *((at, unregister, "DELETE") for at in (one, versions)),
    ]
    return [
        Route(path, _told(run, torchserve.error), methods=[method]) for path, run, method in found
    ]


# -- parts -----------------------------------------------------------------------------------------


def _metrics(oracle: Oracle) -> Handler:
    async def page(request: Request) -> Response:
        text = metrics.render(await oracle.listing())
        return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE})

    return _told(page, _plain)


def _told(run: Handler, words: Callable[[wire.Code, str], tuple[int, dict[str, Any]]]) -> Handler:
    """Return a handler whose refusals are told in the words of its API."""

    async def told(request: Request) -> Response:
        try:
            return await run(request)
        except ProtocolError as e:
            code: wire.Code = "BAD_INPUT"
            reason = str(e)
        except Unanswered as e:
            code, reason = e.code, str(e)
        status, body = words(code, reason)
        response = _json(body, status)
        if code == "OVERLOADED":
            response.headers["Retry-After"] = "1"
        return response

    return told


def _plain(code: wire.Code, reason: str) -> tuple[int, dict[str, Any]]:
    return _STATUS[code], {"error": f"{code}: {reason}"}


def _error(status: int, reason: str) -> Response:
    return _json({"error": reason}, status)


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type=_JSON)


async def _named(oracle: Oracle, request: Request) -> tuple[wire.Model, wire.Version]:
    version = _version(request)
    return await oracle.named(request.path_params["model"], "" if version == "all" else version)


def _version(request: Request) -> str:
    version: str = request.path_params.get("version", "")
    return version


async def _body(request: Request) -> bytes:
    """Return the body, of bounded size.

    Raises:
        ProtocolError: it is larger.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > wire.MAX_BYTES // 2:
            raise ProtocolError(f"expected a body of at most {wire.MAX_BYTES // 2} bytes")
        parts.append(part)
    return b"".join(parts)


def _whole(text: str, name: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise ProtocolError(f"{name}: expected a whole number from 0, found {text[:40]!r}")
    return int(text)
