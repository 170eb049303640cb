"""Ways to ask for one prediction, each as a call without arguments that checks its answer."""

import http.client
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import grpc
import numpy as np
import zmq
from numpy.typing import NDArray

from agents.checkpoint import Checkpoint
from agents.policy import OnnxPolicy
from agents.serving.messages import METHODS, SERVICE
from grid.bus import new_context
from grid.errors import BusError
from grid.serving import wire
from grid.serving.ends import Asker

_TIMEOUT_S: Final = 20.0

type Obs = NDArray[np.float32]
type Call = Callable[[], None]


def local_call(checkpoint: Checkpoint, obs: Obs) -> Call:
    """The network in this process."""
    policy = OnnxPolicy(checkpoint)

    def call() -> None:
        policy.outputs(obs)

    return call


def zmq_call(stack: ExitStack, address: str, obs: Obs) -> Call:
    """Our own protocol."""
    context = new_context()
    stack.callback(context.destroy, linger=0)
    asker = Asker(context, address)
    stack.callback(asker.close)
    raw = obs.tobytes()

    def call() -> None:
        if not isinstance(asker.predict("tick", raw, _TIMEOUT_S), wire.Prediction):
            raise BusError(f"{address}: expected a prediction, found a refusal")

    return call


def http_call(stack: ExitStack, url: str, path: str, obs: Obs, token: str = "") -> Call:
    """JSON over a kept connection: a path of `/v2` gets the Open Inference Protocol's body."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=_TIMEOUT_S)
    stack.callback(connection.close)
    body: Any = obs.tolist()
    if path.startswith("/v2"):
        tensor = {"name": "obs", "shape": [1, len(obs)], "datatype": "FP32", "data": body}
        body = {"inputs": [tensor]}
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}

    def call() -> None:
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        found = json.loads(response.read())
        if response.status != 200:
            raise BusError(f"{url}{path}: {response.status} {found}")

    return call


def grpc_call(stack: ExitStack, address: str, obs: Obs) -> Call:
    """The Open Inference Protocol over gRPC, with raw numbers."""
    channel = stack.enter_context(grpc.insecure_channel(address))
    request, response = METHODS["ModelInfer"]
    infer = channel.unary_unary(
        f"/{SERVICE}/ModelInfer",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    raw = obs.tobytes()
    tensor = {"name": "obs", "datatype": "FP32", "shape": [1, len(obs)]}

    def call() -> None:
        asked = request(model_name="tick", inputs=[tensor], raw_input_contents=[raw])
        infer(asked, timeout=_TIMEOUT_S)

    return call


def load(address: str, obs: Obs, clients: int, seconds: float) -> tuple[float, float]:
    """Return predictions a second and the mean rows of a batch.

    Each of `clients` asks again as soon as it has its answer; they share one socket.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.rcvtimeo = round(_TIMEOUT_S * 1e3)
    batches: list[int] = []
    try:
        dealer.connect(address)
        request = wire.encode(wire.Predict(1, "tick", obs.tobytes()))
        for _ in range(clients):
            dealer.send_multipart((b"", request))
        began_s = time.perf_counter()
        while time.perf_counter() - began_s < seconds:
            reply = wire.reply(dealer.recv_multipart()[-1])
            if not isinstance(reply, wire.Prediction):
                raise BusError(f"{address}: expected a prediction, found {reply}")
            batches.append(reply.batch)
            dealer.send_multipart((b"", request))
        took_s = time.perf_counter() - began_s
    finally:
        dealer.close(linger=0)
        context.term()
    # a batch of n is in the list n times
    return len(batches) / took_s, len(batches) / sum(1 / n for n in batches)
