"""What the HTTP routes share: requests taken apart, refusals in the words of an API."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from agents.serving.oracle import Oracle, Unanswered
from grid.errors import ProtocolError
from grid.serving import wire

type Handler = Callable[[Request], Awaitable[Response]]
type Words = Callable[[wire.Code, str], tuple[int, dict[str, Any]]]

_JSON: Final = "application/json"
# code -> HTTP status in the Open Inference Protocol's routes
STATUS: Final[dict[wire.Code, int]] = {
    "UNKNOWN_MODEL": 404,
    "BAD_INPUT": 400,
    "OVERLOADED": 429,
    "EXPIRED": 504,
    "UNAVAILABLE": 503,
    "REFUSED": 400,
    "FAILED": 500,
}


def told(run: Handler, words: Words) -> Handler:
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
        response = answer_json(body, status)
        if code == "OVERLOADED":
            response.headers["Retry-After"] = "1"
        return response

    return told


def plain(code: wire.Code, reason: str) -> tuple[int, dict[str, Any]]:
    """Return status and body of a refusal, as the Open Inference Protocol has them."""
    return STATUS[code], {"error": f"{code}: {reason}"}


def answer_json(body: object, status: int = 200) -> Response:
    """Return a response of JSON."""
    return Response(msgspec.json.encode(body), status, media_type=_JSON)


async def named(oracle: Oracle, request: Request) -> tuple[wire.Model, wire.Version]:
    """Return the model and the version that a path names, the default one for none."""
    version = version_of(request)
    return await oracle.named(request.path_params["model"], "" if version == "all" else version)


def version_of(request: Request) -> str:
    """Return the version in a path; empty if there is none."""
    version: str = request.path_params.get("version", "")
    return version


async def body_of(request: Request) -> bytes:
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


def whole(text: str, name: str) -> int:
    """Read a whole number of a query.

    Raises:
        ProtocolError: it is none.
    """
    if not text.isdecimal() or len(text) > 9:
        raise ProtocolError(f"{name}: expected a whole number from 0, found {text[:40]!r}")
    return int(text)
