"""A policy whose network runs elsewhere: TorchServe, an Open Inference server, or ours.

What it sees and may do comes from a checkpoint here, and so do the golden rows: before the server's
outputs are traded, and again after each failure, it must give the outputs that the checkpoint
gives. Whatever goes wrong, the decision is skipped and counted, and never later than its deadline.
"""

import logging
import os
import time
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.checkpoint import GOLDEN, Checkpoint
from agents.network import network_of
from agents.policy import Obs, Undecided, refuse_market, target_of
from agents.registry.registry import Registry
from agents.serving.address import Address
from agents.serving.breaker import Breaker, RetryBudget
from agents.serving.post import Failure, Post
from agents.serving.stateless import refuse_memory
from grid.bus import new_context
from grid.errors import ArgonautError, CheckpointError
from grid.serving import wire
from grid.serving.ends import Asker

log = logging.getLogger(__name__)

_TOLERANCE: Final = 1e-4  # of the golden rows' outputs, relative to the largest
_PROVED_ROWS: Final = 3
_PROVING_S: Final = 2.0  # when an agent starts
_AGAIN: Final = ("unreachable", "overloaded")  # what may be better a moment later

type Floats = NDArray[np.float32]


class _Transport(Protocol):
    def outputs(self, obs: Obs, until_s: float) -> tuple[Floats, str]:
        """Return the outputs, and the checkpoint's digest where the server tells it."""
        ...

    def close(self) -> None: ...


class RemotePolicy:
    """A policy that asks a server.

    Args:
        address: of the model.
        checkpoint: that the server is meant to answer for.

    Attributes:
        spec: of the checkpoint.
        checkpoint: itself.
        address: where it asks.
    """

    def __init__(self, address: Address, checkpoint: Checkpoint) -> None:
        refuse_market(checkpoint)
        refuse_memory(checkpoint, network_of(checkpoint).recurrent)
        self.spec = checkpoint.manifest.spec
        self.checkpoint = checkpoint
        self.address = address
        golden = checkpoint.tensors(GOLDEN)
        self._golden = [(golden[o][:_PROVED_ROWS]) for o in ("obs", "outputs")]
        self._scale = max(1.0, float(np.abs(golden["outputs"]).max()))
        self._breaker = Breaker(address.failures)
        self._budget = RetryBudget(address.retries)
        self._proved = False
        self._transport: _Transport = _Zmq(address) if address.api == "zmq" else _Http(address)

    @classmethod
    def open(cls, address: Address, models: Path) -> "RemotePolicy":
        """Return the policy; its checkpoint is in the registry in `models`, or in its folder.

        Raises:
            CheckpointError: there is none, or it is damaged.
            ConfigError: the server's host does not exist.
        """
        if address.digest:
            return cls(address, Registry(models).open(address.digest))
        return cls(address, Checkpoint.open(Path(address.checkpoint)))

    def act(self, obs: Obs) -> float:
        """Return the target.

        Raises:
            Undecided: there is none by the deadline, or the server is left alone for now.
        """
        until_s = time.monotonic() + self.address.deadline_ms / 1e3
        if not self._breaker.allows(time.monotonic_ns()):
            raise Undecided("open", f"{self.address.endpoint}: left alone after failures")
        self._budget.asked()
        try:
            if not self._proved:
                self._prove(until_s)
            outputs = self._outputs(obs, until_s)
        except Failure as e:
            self._proved = False
            self._breaker.failed(time.monotonic_ns())
            raise Undecided(e.why, f"{self.address.endpoint}: {e}") from e
        self._breaker.succeeded()
        return target_of(self.spec, outputs)

    def prove(self) -> None:
        """Find out whether the server gives the checkpoint's outputs; one that is away may come.

        Raises:
            CheckpointError: it gives others.
        """
        try:
            self._prove(time.monotonic() + _PROVING_S)
        except Failure as e:
            if e.why == "differs":
                raise CheckpointError(f"{self.address.endpoint}: {e}") from e
            log.warning("%s does not answer yet: %s", self.address.endpoint, e)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _prove(self, until_s: float) -> None:
        for obs, expected in zip(*self._golden, strict=True):
            worst = float(np.abs(self._outputs(obs, until_s) - expected).max())
            if not worst <= _TOLERANCE * self._scale:
                raise Failure(
                    "differs",
                    f"model {self.address.model} differs by {worst:.3g} from checkpoint "
                    f"{self.checkpoint.digest}",
                )
        self._proved = True

    def _outputs(self, obs: Obs, until_s: float) -> Floats:
        while True:
            try:
                outputs, digest = self._transport.outputs(obs, until_s)
                break
            except Failure as e:
                if e.why not in _AGAIN or not self._budget.take():
                    raise
        if digest and digest != self.checkpoint.digest:
            raise Failure(
                "differs",
                f"expected outputs of checkpoint {self.checkpoint.digest}, found {digest}",
            )
        width = self._golden[1].shape[1]
        if outputs.shape != (width,) or not np.isfinite(outputs).all():
            raise Failure("garbled", f"expected {width} finite outputs, found {outputs.shape}")
        return outputs


class _Zmq:
    def __init__(self, address: Address) -> None:
        self._address = address
        self._context = new_context()
        self._asker = Asker(self._context, address.endpoint)

    def outputs(self, obs: Obs, until_s: float) -> tuple[Floats, str]:
        left_s = until_s - time.monotonic()
        raw = obs.astype("<f4", copy=False).tobytes()
        try:
            reply = self._asker.predict(self._address.model, raw, left_s, self._address.version)
        except ArgonautError as e:
            raise Failure("late", str(e)) from e
        if isinstance(reply, wire.Refusal):
            raise Failure(reply.code.lower(), reply.reason)
        return np.frombuffer(reply.outputs, dtype="<f4"), reply.digest

    def close(self) -> None:
        self._asker.close()
        self._context.destroy(linger=0)


class _Http:
    def __init__(self, address: Address) -> None:
        token = os.environ.get(address.token_env, "") if address.token_env else ""
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        self._post = Post(address.endpoint, bearer)
        self._address = address

    def outputs(self, obs: Obs, until_s: float) -> tuple[Floats, str]:
        oip = self._address.api == "oip"
        body = self._infer(obs) if oip else msgspec.json.encode(obs.tolist())
        status, headers, content = self._post.post(self._address.path, body, until_s)
        if status != 200:
            why = "overloaded" if status in (429, 503) else f"http_{status}"
            raise Failure(why, f"{status} {content[:200].decode(errors='replace')}")
        try:
            tree = msgspec.json.decode(content)
            found, digest = self._read(tree) if oip else (tree, headers.get("x-model-digest", ""))
            return np.asarray(found, dtype=np.float32).reshape(-1), str(digest)
        except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError, ValueError) as e:
            raise Failure("garbled", f"expected outputs, found something else: {e}") from e

    def close(self) -> None:
        self._post.close()

    def _infer(self, obs: Obs) -> bytes:
        tensor = {
            "name": self._address.input,
            "shape": [1, len(obs)],
            "datatype": "FP32",
            "data": obs.tolist(),
        }
        return msgspec.json.encode({"inputs": [tensor]})

    def _read(self, tree: Any) -> tuple[Any, Any]:
        outputs = {output["name"]: output["data"] for output in tree["outputs"]}
        digest = (tree.get("parameters") or {}).get("digest", "")
        return outputs[self._address.output], digest
