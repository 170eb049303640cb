"""The ASGI app: routes, errors, and what every answer carries."""

import asyncio
import contextlib
import importlib
import importlib.util
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from grid.gateway import metrics, orders, playback, problem, stream, training_views, views
from grid.gateway.desk import AtDesk, Desk, Reader
from grid.gateway.problem import Problem, answers
from grid.gateway.stream import Streams

MAX_BODY_BYTES: Final = 64 << 10
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def build(desk: Desk) -> FastAPI:
    """Return the app of a desk."""
    streams = Streams(desk)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pulse = asyncio.ensure_future(streams.pulse())
        try:
            yield
        finally:
            pulse.cancel()

    app = FastAPI(
        title="Argonaut gateway",
        version=desk.version,
        lifespan=lifespan,
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.desk, app.state.streams = desk, streams
    problem.install(app)
    app.middleware("http")(_guarded)
    app.include_router(views.router)
    app.include_router(training_views.router)
    app.include_router(playback.router)
    app.include_router(orders.router)
    app.include_router(stream.router)

    @app.get("/metrics", responses=answers(401, 403, 429), response_class=Response, tags=["views"])
    async def prometheus(key: Reader, at: AtDesk) -> Response:
        """Every process of the grid, in Prometheus' text format."""
        own = {**streams.counters(), **{k: float(v) for k, v in at.door.counts.items()}}
        own |= {"missed": float(at.listener.missed), "events": float(at.listener.hub.n)}
        with at.listener.lock:
            page = metrics.render(at.listener.state, own, time.time_ns())
        return Response(page, media_type=metrics.CONTENT_TYPE)

    if importlib.util.find_spec("grid.gateway.pages") is not None:
        app.include_router(importlib.import_module("grid.gateway.pages").router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


async def _guarded(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        response: Response = problem.response(413, f"expected at most {MAX_BODY_BYTES} bytes")
    elif request.method in ("POST", "PUT", "PATCH") and "transfer-encoding" in request.headers:
        response = problem.response(411, "expected a body with Content-Length")
    else:
        response = await call(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.url.path.startswith("/api/"):
        response.headers["Cache-Control"] = "no-store"
    return response


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, routes=app.routes)
        parts = found.setdefault("components", {})
        parts.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
        parts["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        open_to_all = ("/api/v1/health", "/api/v1/ready")
        for path, methods in found["paths"].items():
            for operation in methods.values():
                if path not in open_to_all:
                    operation["security"] = [{"key": []}, {"bearer": []}]
                for status, said in operation["responses"].items():
                    # our errors are problems, validation's too
                    if status == "422":
                        said["content"] = {
                            problem.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}
                        }
        for unused in ("HTTPValidationError", "ValidationError"):
            parts["schemas"].pop(unused, None)
        app.openapi_schema = found
    return app.openapi_schema
