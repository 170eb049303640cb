"""The HTTP side of a model server: both APIs, metrics, and who is let in."""

import hmac

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from agents.serving import metrics, oip_routes, torchserve_routes
from agents.serving.answers import Handler, answer_json, plain, told
from agents.serving.oracle import Oracle
from grid.serving.config import HttpConfig


def build(oracle: Oracle, config: HttpConfig, version: str) -> Starlette:
    """Return the ASGI app.

    Args:
        oracle: asks the server.
        config: the section `[http]`.
        version: of this program, for the metadata.
    """
    timeout_s = config.timeout_ms / 1e3
    routes = [
        *oip_routes.routes(oracle, timeout_s, version, config.management),
        *torchserve_routes.inference(oracle, timeout_s),
        Route("/metrics", _metrics(oracle), methods=["GET"]),
    ]
    if config.management:
        routes += torchserve_routes.management(oracle)
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
                refused = _refused(403, "requests of web pages are not served")
                return await refused(scope, receive, send)
            found = headers.get(b"authorization", b"")
            if self._wanted and not hmac.compare_digest(found, self._wanted):
                refused = _refused(401, "expected the token as Authorization: Bearer")
                refused.headers["WWW-Authenticate"] = "Bearer"
                return await refused(scope, receive, send)
        await self._app(scope, receive, send)


def _metrics(oracle: Oracle) -> Handler:
    async def page(request: Request) -> Response:
        text = metrics.render(await oracle.listing())
        return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE})

    return told(page, plain)


def _refused(status: int, reason: str) -> Response:
    return answer_json({"error": reason}, status)
