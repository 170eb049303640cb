"""The Open Inference Protocol v2 over HTTP: bodies in, numbers out, and back. Pure.

With Triton's extension for binary tensors, which its clients use unless told otherwise: a body is
JSON of so many bytes as a header says, and raw little-endian numbers behind it.
https://github.com/kserve/open-inference-protocol
"""

from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from grid.errors import ProtocolError
from grid.serving import wire

INPUT: Final = "obs"
OUTPUT: Final = "outputs"
DATATYPE: Final = "FP32"
HEADER_LENGTH: Final = "inference-header-content-length"
EXTENSIONS: Final = ("binary_tensor_data", "model_repository")
SERVER: Final = "argonaut"


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[_Output] = []


class Infer(NamedTuple):
    """A request for a prediction.

    Attributes:
        id: to be given back.
        obs: float32, little-endian.
        rows: in it.
        binary: whether the outputs are wanted behind the JSON.
        timeout_s: that the client gives; 0 for none.
    """

    id: str
    obs: bytes
    rows: int
    binary: bool
    timeout_s: float


def read(body: bytes, header_length: str | None) -> Infer:
    """Read the body of an infer request.

    Args:
        body: as it came.
        header_length: value of the header `Inference-Header-Content-Length`, if there is one.

    Raises:
        ProtocolError: it is none, or not what our models take.
    """
    size = len(body) if header_length is None else _length(header_length, len(body))
    try:
        request = msgspec.json.decode(body[:size], type=_Request)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise ProtocolError(f"infer request: {e}") from e
    if len(request.inputs) != 1 or request.inputs[0].name != INPUT:
        found = ", ".join(i.name for i in request.inputs) or "none"
        raise ProtocolError(f"infer request: expected one input {INPUT!r}, found {found}")
    if wrong := [o.name for o in request.outputs if o.name != OUTPUT]:
        raise ProtocolError(f"infer request: expected output {OUTPUT!r}, found {wrong[0]!r}")
    tensor = request.inputs[0]
    obs = _obs(tensor, body[size:])
    binary = bool(request.parameters.get("binary_data_output"))
    for output in request.outputs:
        binary = bool(output.parameters.get("binary_data", binary))
    timeout_us = request.parameters.get("timeout", 0)
    if not isinstance(timeout_us, int | float) or not 0 <= timeout_us < 1e12:
        raise ProtocolError(f"infer request: expected a timeout in us, found {timeout_us!r}")
    return Infer(request.id, obs, rows_of(tensor.shape, len(obs)), binary, timeout_us / 1e6)


def rows_of(shape: list[int], size: int) -> int:
    """Return the rows of a tensor of `size` bytes of float32: one for a vector.

    Raises:
        ProtocolError: the shape is not that of the bytes.
    """
    numbers = int(np.prod(shape, dtype=object)) if shape else 0
    if len(shape) not in (1, 2) or min(shape) < 1 or 4 * numbers != size:
        raise ProtocolError(
            f"infer request: expected shape [rows, numbers] of {size // 4} numbers, found {shape}"
        )
    return shape[0] if len(shape) == 2 else 1


def answer(infer: Infer, model: str, prediction: wire.Prediction) -> tuple[bytes, int | None]:
    """Return the body of the response, and the length of its JSON if more is behind it."""
    values = np.frombuffer(prediction.outputs, dtype="<f4")
    tensor: dict[str, Any] = {
        "name": OUTPUT,
        "datatype": DATATYPE,
        "shape": [infer.rows, len(values) // infer.rows],
    }
    if infer.binary:
        tensor["parameters"] = {"binary_data_size": len(prediction.outputs)}
    else:
        tensor["data"] = values.tolist()
    head = msgspec.json.encode(
        {
            "model_name": model,
            "model_version": prediction.version,
            **({"id": infer.id} if infer.id else {}),
            "parameters": said(prediction),
            "outputs": [tensor],
        }
    )
    return (head + prediction.outputs, len(head)) if infer.binary else (head, None)


def said(prediction: wire.Prediction) -> dict[str, str | int | float]:
    """Return what goes beside the outputs."""
    return {
        "digest": prediction.digest,
        "batch": prediction.batch,
        "queue_us": prediction.queue_us,
        "run_us": prediction.run_us,
    }


def metadata(model: wire.Model, version: wire.Version) -> dict[str, Any]:
    """Return a model's metadata."""
    return {
        "name": model.name,
        "versions": [v.version for v in model.versions],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": DATATYPE, "shape": [-1, version.obs_size]}],
        "outputs": [{"name": OUTPUT, "datatype": DATATYPE, "shape": [-1, version.width]}],
    }


def index(models: tuple[wire.Model, ...]) -> list[dict[str, str]]:
    """Return the index of the repository, as Triton gives it."""
    return [
        {
            "name": model.name,
            "version": version.version,
            "state": "READY" if model.workers else "UNAVAILABLE",
            "reason": "" if model.workers else "scaled to no worker",
        }
        for model in models
        for version in model.versions
    ]


def _obs(tensor: _Input, behind: bytes) -> bytes:
    if tensor.datatype != DATATYPE:
        raise ProtocolError(f"infer request: expected {DATATYPE}, found {tensor.datatype!r}")
    size = tensor.parameters.get("binary_data_size")
    if size is not None:
        if size != len(behind):
            raise ProtocolError(f"infer request: expected {size} bytes, found {len(behind)}")
        return behind
    if tensor.data is None or behind:
        raise ProtocolError("infer request: expected data in JSON, or binary_data_size")
    return packed(tensor.data)


def packed(data: list[Any]) -> bytes:
    """Return nested lists of numbers as float32.

    Raises:
        ProtocolError: they are something else.
    """
    try:
        values: NDArray[np.float32] = np.asarray(data, dtype="<f4")
    except (TypeError, ValueError, OverflowError) as e:
        raise ProtocolError(f"expected rows of as many numbers each: {e}") from e
    return values.tobytes()


def _length(text: str, most: int) -> int:
    if not text.isdecimal() or not 0 < int(text) <= most:
        raise ProtocolError(
            f"header {HEADER_LENGTH}: expected 1 to {most} bytes, found {text[:20]!r}"
        )
    return int(text)
