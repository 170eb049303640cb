"""A checkpoint's network for many rows at once, and the proof that a batch changes no bit."""

from typing import Final, Protocol

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from agents.checkpoint import GOLDEN, ONNX, Checkpoint
from agents.policy import OnnxPolicy
from agents.serving.stateless import refuse_memory
from grid.errors import CheckpointError, ConfigError
from grid.spec import Spec

type Floats = NDArray[np.float32]

_TOLERANCE: Final = 1e-4  # of a GPU's outputs, relative to the largest


class Network(Protocol):
    """What a server runs.

    Attributes:
        size: numbers in an observation.
        width: numbers in an output.
        batched: whether rows go through together.
        spec: what they mean.
        digest: of the checkpoint.
    """

    size: int
    width: int
    batched: bool
    spec: Spec
    digest: str

    def run(self, obs: Floats) -> Floats:
        """Return outputs [rows, width] for observations [rows, size]."""
        ...


def load(checkpoint: Checkpoint, device: str, max_batch: int) -> Network:
    """Return a checkpoint's network on a device.

    Raises:
        CheckpointError: it does not give the outputs that were written with it.
        ConfigError: there is no such device.
    """
    if device == "cpu":
        return OnnxNetwork(checkpoint, max_batch)
    from agents.serving.gpu import TorchNetwork  # torch takes seconds, and only a GPU asks for it

    return TorchNetwork(checkpoint, device)


class OnnxNetwork:
    """A network run by ONNX Runtime in one thread, as in an agent.

    Rows go through together if that gives the bits that they give alone, for every batch size;
    that is tried on the golden rows here. Networks that know one row only run row by row.

    Args:
        checkpoint: opened, hence verified.
        max_batch: largest batch that is tried.
    """

    def __init__(self, checkpoint: Checkpoint, max_batch: int) -> None:
        policy = OnnxPolicy(checkpoint)  # proves the golden rows
        refuse_memory(checkpoint, policy.recurrent)
        golden = checkpoint.tensors(GOLDEN)
        self.spec = checkpoint.manifest.spec
        self.digest = checkpoint.digest
        self.size = int(golden["obs"].shape[1])
        self.width = int(golden["outputs"].shape[1])
        self._alone = policy.outputs
        self._session = _any_rows(checkpoint.read(ONNX))
        self.batched = self._session is not None and self._proves(golden["obs"], max_batch)

    def run(self, obs: Floats) -> Floats:
        """Return outputs [rows, width] for observations [rows, size]."""
        if self.batched:
            return self._together(obs)
        return np.stack([self._alone(row) for row in obs])

    def _together(self, obs: Floats) -> Floats:
        assert self._session is not None  # else nothing is batched
        outputs: Floats = self._session.run(None, {"obs": obs})[0]
        return outputs

    def _proves(self, rows: Floats, max_batch: int) -> bool:
        alone = np.stack([self._alone(row) for row in rows])
        for n in range(1, max_batch + 1):
            chosen = np.arange(n) * 7 % len(rows)  # each place of a batch sees many rows
            try:
                together = self._together(np.ascontiguousarray(rows[chosen]))
            except Exception:  # the runtime has no base class for its errors
                return False
            if together.tobytes() != alone[chosen].tobytes():
                return False
        return True


def _any_rows(network: bytes) -> onnxruntime.InferenceSession | None:
    """Return a session in which the first dimension is free; None if the network has no such."""
    model = onnx.load_from_string(network)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "rows"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # the runtime has no base class for its errors
        return None


def prove_near(network: Network, checkpoint: Checkpoint) -> None:
    """Refuse a network whose outputs are not those of the checkpoint, but for rounding.

    Raises:
        CheckpointError: with the largest difference.
    """
    golden = checkpoint.tensors(GOLDEN)
    worst = float(np.abs(network.run(golden["obs"]) - golden["outputs"]).max())
    if not worst <= _TOLERANCE * max(1.0, float(np.abs(golden["outputs"]).max())):
        raise CheckpointError(
            f"{checkpoint.path}: outputs differ by {worst:.3g} from those written with it"
        )


def no_device(device: str, found: str) -> ConfigError:
    """Return the error of a device that is not there."""
    return ConfigError(f"key device: expected a device of this machine, found {device!r}: {found}")
