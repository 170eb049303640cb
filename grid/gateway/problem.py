"""Errors as RFC 9457 problems: `application/problem+json`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

MEDIA_TYPE: Final = "application/problem+json"


class Problem(BaseModel):
    """What is wrong, where, what was expected."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int
    detail: str


class Refusal(Exception):
    """Ends a request with a problem.

    Args:
        status: of HTTP.
        detail: one sentence.
        headers: of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a problem as a response."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, dict(headers or {}), MEDIA_TYPE)


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer with, for OpenAPI."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


def _methods(app: FastAPI, request: Request) -> set[str]:
    found: set[str] = set()
    for route in app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= set(route.methods or ())
    return found - {"HEAD"}


def install(app: FastAPI) -> None:
    """Let every error of an app be a problem."""

    @app.exception_handler(Refusal)
    async def refused(request: Request, e: Refusal) -> JSONResponse:
        return response(e.status, e.detail, e.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, e: RequestValidationError) -> JSONResponse:
        said = "; ".join(
            f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in e.errors()[:5]
        )
        return response(422, said)

    @app.exception_handler(HTTPException)
    async def failed(request: Request, e: HTTPException) -> JSONResponse:
        headers = dict(e.headers or {})
        if e.status_code == 405:  # the router names the methods of the first route alone
            headers["Allow"] = ", ".join(sorted(_methods(app, request)))
        return response(e.status_code, str(e.detail), headers)

    @app.exception_handler(Exception)
    async def broken(request: Request, e: Exception) -> JSONResponse:
        return response(500, "a fault of the gateway; its log says more")
