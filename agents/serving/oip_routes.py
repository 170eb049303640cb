"""The Open Inference Protocol v2 over HTTP, as routes."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agents.serving import oip
from agents.serving.answers import answer_json, body_of, named, plain, told, version_of
from agents.serving.oracle import Oracle
from grid.serving import wire


def routes(oracle: Oracle, timeout_s: float, version: str, management: bool) -> list[Route]:
    """Return the routes; with `management` those that load and unload models, too."""

    async def server(request: Request) -> Response:
        return answer_json(
            {"name": oip.SERVER, "version": version, "extensions": list(oip.EXTENSIONS)}
        )

    async def live(request: Request) -> Response:
        return answer_json({"live": True})

    async def ready(request: Request) -> Response:
        is_ready = all(m.workers for m in await oracle.models())
        return answer_json({"ready": is_ready}, 200 if is_ready else 503)

    async def metadata(request: Request) -> Response:
        return answer_json(oip.metadata(*await named(oracle, request)))

    async def model_ready(request: Request) -> Response:
        model, found = await named(oracle, request)
        is_ready = bool(model.workers)
        said = {"name": model.name, "version": found.version, "ready": is_ready}
        return answer_json(said, 200 if is_ready else 503)

    async def infer(request: Request) -> Response:
        name = request.path_params["model"]
        asked = oip.read(await body_of(request), request.headers.get(oip.HEADER_LENGTH))
        prediction = await oracle.predict(
            name, asked.obs, version_of(request), asked.timeout_s or timeout_s
        )
        body, header = oip.answer(asked, name, prediction)
        if header is None:
            return Response(body, media_type="application/json")
        length = {"Inference-Header-Content-Length": str(header)}
        return Response(body, media_type="application/octet-stream", headers=length)

    async def index(request: Request) -> Response:
        return answer_json(oip.index(await oracle.models()))

    async def load(request: Request) -> Response:
        name = request.path_params["model"]
        known = {m.name: m.source for m in await oracle.models()}
        await oracle.ask(wire.Register(0, known.get(name, f"model:{name}"), name))
        return answer_json({})

    async def unload(request: Request) -> Response:
        await oracle.ask(wire.Unregister(0, request.path_params["model"]))
        return answer_json({})

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
    return [Route(path, told(run, plain), methods=[method]) for path, run, method in found]
