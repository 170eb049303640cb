"""TorchServe's inference and management API: its bodies, word for word where clients read them.

https://docs.pytorch.org/serve/inference_api.html and management_api.html, of version 0.12. Pure.
"""

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import msgspec
import numpy as np

from agents.serving.oip import packed
from grid.errors import ProtocolError
from grid.serving import wire

# code of ours -> HTTP status and the type that TorchServe gives
ERRORS: Final[dict[wire.Code, tuple[int, str]]] = {
    "UNKNOWN_MODEL": (404, "ModelNotFoundException"),
    "BAD_INPUT": (400, "BadRequestException"),
    "OVERLOADED": (503, "ServiceUnavailableException"),
    "EXPIRED": (504, "ResponseTimeoutException"),
    "UNAVAILABLE": (503, "ServiceUnavailableException"),
    "REFUSED": (400, "BadRequestException"),
    "FAILED": (500, "InternalServerException"),
}
_RAW: Final = "application/octet-stream"
_FIELDS: Final = ("data", "obs", "instances", "body")


class Numbers(NamedTuple):
    """The body of a prediction: float32, and its rows; None for a vector."""

    obs: bytes
    rows: int | None


def read(body: bytes, content_type: str) -> Numbers:
    """Read a body: JSON numbers, rows of them, either in a field, a form, or raw float32.

    Raises:
        ProtocolError: it is none of these.
    """
    if content_type.startswith(_RAW):
        return Numbers(body, None)
    text = body.lstrip()
    if not text.startswith((b"[", b"{")):  # a form, as curl -d sends it
        fields = parse_qs(body.decode(errors="replace"))
        text = next((fields[f][0].encode() for f in _FIELDS if f in fields), text)
    try:
        data = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise ProtocolError(f"expected numbers as JSON, or raw float32 as {_RAW}: {e}") from e
    if isinstance(data, dict):
        found = [data[f] for f in _FIELDS if f in data]
        if not found:
            raise ProtocolError(f"expected one of the fields {', '.join(_FIELDS)}, found none")
        data = found[0]
    if not isinstance(data, list) or not data:
        raise ProtocolError("expected a list of numbers, or of rows of them, found none")
    nested = isinstance(data[0], list)
    return Numbers(packed(data), len(data) if nested else None)


def answer(numbers: Numbers, prediction: wire.Prediction) -> bytes:
    """Return the outputs as JSON: a list for a vector, a list of lists for rows."""
    values = np.frombuffer(prediction.outputs, dtype="<f4")
    shaped = values if numbers.rows is None else values.reshape(numbers.rows, -1)
    return msgspec.json.encode(shaped.tolist())


def error(code: wire.Code, reason: str) -> tuple[int, dict[str, Any]]:
    """Return status and body of an error."""
    status, kind = ERRORS[code]
    return status, {"code": status, "type": kind, "message": reason}


def listing(models: tuple[wire.Model, ...], limit: int, first: int) -> dict[str, Any]:
    """Return `GET /models`: a page of names."""
    page = models[first : first + limit]
    more = {"nextPageToken": str(first + limit)} if first + limit < len(models) else {}
    return {**more, "models": [{"modelName": m.name, "modelUrl": m.source} for m in page]}


def description(model: wire.Model, version: wire.Version, pid: int) -> dict[str, Any]:
    """Return a version, as in the list that `GET /models/{model}` gives."""
    at = datetime.fromtimestamp(version.loaded_ns / 1e9, UTC)
    since = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    worker = {
        "id": "9000",
        "startTime": since,
        "status": "READY",
        "memoryUsage": 0,
        "pid": pid,
        "gpu": False,
        "gpuUsage": "N/A",
    }
    return {
        "modelName": model.name,
        "modelVersion": version.version,
        "modelUrl": model.source,
        "runtime": "python",
        "minWorkers": model.workers,
        "maxWorkers": 1,
        "batchSize": model.max_batch if version.batched else 1,
        "maxBatchDelay": round(model.max_wait_us / 1e3),
        "loadedAtStartup": True,
        "workers": [worker] * model.workers,
        "jobQueueStatus": {"remainingCapacity": 0, "pendingRequests": version.stats.waiting},
        "digest": version.digest,
    }
