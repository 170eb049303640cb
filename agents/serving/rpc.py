"""The Open Inference Protocol v2 over gRPC."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import numpy as np

from agents.serving import oip
from agents.serving.messages import METHODS, SERVICE
from agents.serving.oracle import Oracle, Unanswered
from grid.errors import BusError, ProtocolError
from grid.serving import wire
from grid.serving.config import GrpcConfig

_STATUS: Final[dict[wire.Code, grpc.StatusCode]] = {
    "UNKNOWN_MODEL": grpc.StatusCode.NOT_FOUND,
    "BAD_INPUT": grpc.StatusCode.INVALID_ARGUMENT,
    "OVERLOADED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "EXPIRED": grpc.StatusCode.DEADLINE_EXCEEDED,
    "UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "REFUSED": grpc.StatusCode.FAILED_PRECONDITION,
    "FAILED": grpc.StatusCode.INTERNAL,
}


def serve(oracle: Oracle, config: GrpcConfig, version: str) -> tuple[grpc.aio.Server, int]:
    """Return a server that is bound, to be started, and its port.

    Raises:
        BusError: the address is taken.
    """
    asked = _Service(oracle, config, version)
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            asked.handler(name),
            request_deserializer=request.FromString,
            response_serializer=response.SerializeToString,
        )
        for name, (request, response) in METHODS.items()
    }
    options = [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", wire.MAX_BYTES // 2),
    ]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    try:
        port = server.add_insecure_port(f"{config.host}:{config.port}")
    except RuntimeError as e:
        raise BusError(f"{config.host}:{config.port}: cannot be bound: is it taken?") from e
    return server, port


class _Service:
    def __init__(self, oracle: Oracle, config: GrpcConfig, version: str) -> None:
        self._oracle = oracle
        self._version = version
        self._timeout_s = config.timeout_ms / 1e3
        self._wanted = f"Bearer {config.token}" if config.token else ""
        self._runs: dict[str, Callable[[Any, Any], Awaitable[dict[str, Any]]]] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server,
            "ModelMetadata": self._model,
            "ModelInfer": self._infer,
            "RepositoryIndex": self._index,
        }

    def handler(self, name: str) -> Callable[[Any, Any], Awaitable[Any]]:
        """Return what answers a method; refusals become gRPC's statuses."""
        run, made = self._runs[name], METHODS[name][1]

        async def handle(request: Any, context: Any) -> Any:
            if self._wanted:
                found = dict(context.invocation_metadata() or ()).get("authorization", "")
                if not hmac.compare_digest(str(found), self._wanted):
                    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "expected the token")
            try:
                return made(**await run(request, context))
            except ProtocolError as e:
                status, reason = grpc.StatusCode.INVALID_ARGUMENT, str(e)
            except Unanswered as e:
                status, reason = _STATUS[e.code], f"{e.code}: {e}"
            return await context.abort(status, reason)

        return handle

    async def _live(self, request: Any, context: Any) -> dict[str, Any]:
        return {"live": True}

    async def _ready(self, request: Any, context: Any) -> dict[str, Any]:
        return {"ready": all(m.workers for m in await self._oracle.models())}

    async def _model_ready(self, request: Any, context: Any) -> dict[str, Any]:
        model, _ = await self._oracle.named(request.name, request.version)
        return {"ready": bool(model.workers)}

    async def _server(self, request: Any, context: Any) -> dict[str, Any]:
        return {"name": oip.SERVER, "version": self._version, "extensions": oip.EXTENSIONS}

    async def _model(self, request: Any, context: Any) -> dict[str, Any]:
        return oip.metadata(*await self._oracle.named(request.name, request.version))

    async def _index(self, request: Any, context: Any) -> dict[str, Any]:
        return {"models": oip.index(await self._oracle.models())}

    async def _infer(self, request: Any, context: Any) -> dict[str, Any]:
        tensor = _one(request)
        raw = list(request.raw_input_contents)
        contents = np.asarray(tensor.contents.fp32_contents, dtype="<f4")
        obs = raw[0] if raw else contents.tobytes()
        rows = oip.rows_of(list(tensor.shape), len(obs))
        left_s = context.time_remaining()
        timeout_s = self._timeout_s if left_s is None else max(0.0, min(left_s, 60.0))
        found = await self._oracle.predict(
            request.model_name, obs, request.model_version, timeout_s
        )
        width = len(found.outputs) // 4 // rows
        output: dict[str, Any] = {
            "name": oip.OUTPUT,
            "datatype": oip.DATATYPE,
            "shape": [rows, width],
        }
        answer: dict[str, Any] = {
            "model_name": request.model_name,
            "model_version": found.version,
            "id": request.id,
            "parameters": {name: _parameter(value) for name, value in oip.said(found).items()},
            "outputs": [output],
        }
        if raw:
            answer["raw_output_contents"] = [found.outputs]
        else:
            values = np.frombuffer(found.outputs, dtype="<f4")
            output["contents"] = {"fp32_contents": values.tolist()}
        return answer


def _one(request: Any) -> Any:
    if len(request.inputs) != 1 or request.inputs[0].name != oip.INPUT:
        found = ", ".join(i.name for i in request.inputs) or "none"
        raise ProtocolError(f"infer request: expected one input {oip.INPUT!r}, found {found}")
    tensor = request.inputs[0]
    if tensor.datatype != oip.DATATYPE or len(request.raw_input_contents) > 1:
        raise ProtocolError(
            f"infer request: expected one tensor of {oip.DATATYPE}, found {tensor.datatype!r}"
        )
    return tensor


def _parameter(value: str | int | float) -> dict[str, Any]:
    match value:
        case str():
            return {"string_param": value}
        case int():
            return {"int64_param": value}
        case _:
            return {"double_param": value}
