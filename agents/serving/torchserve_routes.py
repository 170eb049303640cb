"""TorchServe's inference and management API, as routes."""

import os
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agents.serving import torchserve
from agents.serving.answers import Handler, answer_json, body_of, named, told, version_of, whole
from agents.serving.oracle import Oracle
from grid.serving import wire

_PAGE: Final = 100  # models, unless another limit is asked for


def inference(oracle: Oracle, timeout_s: float) -> list[Route]:
    """Return the routes of the inference API."""

    async def ping(request: Request) -> Response:
        healthy = all(m.workers for m in await oracle.models())
        return answer_json(
            {"status": "Healthy" if healthy else "Unhealthy"}, 200 if healthy else 500
        )

    async def predict(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        numbers = torchserve.read(await body_of(request), content_type)
        found = await oracle.predict(
            request.path_params["model"], numbers.obs, version_of(request), timeout_s
        )
        headers = {"X-Model-Version": found.version, "X-Model-Digest": found.digest}
        return Response(
            torchserve.answer(numbers, found), media_type="application/json", headers=headers
        )

    predictions = told(predict, torchserve.error)
    methods = ["GET", "POST", "PUT"]
    return [
        Route("/ping", told(ping, torchserve.error), methods=["GET"]),
        Route("/predictions/{model}", predictions, methods=methods),
        Route("/predictions/{model}/{version}", predictions, methods=methods),
    ]


def management(oracle: Oracle) -> list[Route]:
    """Return the routes of the management API."""

    async def listing(request: Request) -> Response:
        query = request.query_params
        limit, first = (
            whole(query.get(name, default), name)
            for name, default in (("limit", str(_PAGE)), ("next_page_token", "0"))
        )
        return answer_json(torchserve.listing(await oracle.models(), limit, first))

    async def register(request: Request) -> Response:
        query = request.query_params
        asked = wire.Register(0, query.get("url", ""), query.get("model_name", ""))
        done = await oracle.ask(asked)
        said = f'Model "{done.model}" Version: {done.version} registered with 1 initial workers'
        return answer_json({"status": said})

    async def describe(request: Request) -> Response:
        model, found = await named(oracle, request)
        wanted = request.path_params.get("version", "")
        versions = model.versions if wanted == "all" else (found,)
        return answer_json([torchserve.description(model, v, os.getpid()) for v in versions])

    async def scale(request: Request) -> Response:
        query, name = request.query_params, request.path_params["model"]
        workers = whole(query.get("min_worker", query.get("max_worker", "1")), "min_worker")
        await oracle.ask(wire.Scale(0, name, min(workers, 1)))
        if query.get("synchronous", "false") == "true":
            return answer_json({"status": f"Workers scaled to {min(workers, 1)} for model: {name}"})
        return answer_json({"status": "Processing worker updates..."}, 202)

    async def default(request: Request) -> Response:
        name, version = request.path_params["model"], request.path_params["version"]
        await oracle.ask(wire.SetDefault(0, name, version))
        # the word is TorchServe's, and clients may compare it
        said = f'Default version succesfully updated for model "{name}" to "{version}"'
        return answer_json({"status": said})

    async def unregister(request: Request) -> Response:
        name = request.path_params["model"]
        await oracle.ask(wire.Unregister(0, name, version_of(request)))
        return answer_json({"status": f'Model "{name}" unregistered'})

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
        Route(path, told(run, torchserve.error), methods=[method]) for path, run, method in found
    ]
