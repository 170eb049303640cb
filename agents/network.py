"""A policy network run by ONNX Runtime: batch 1, one thread, the same bits always. Light."""

from typing import Any, Final

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from agents.checkpoint import GOLDEN, ONNX, Checkpoint
from grid.errors import CheckpointError

STATE: Final = ("h", "c")  # of an LSTM
_TOLERANCE: Final = 1e-5  # of outputs on another kind of CPU; on the same kind they are equal

type Floats = NDArray[np.float32]


class Network:
    """A network, and what it remembers of its episode, if it has an LSTM.

    Args:
        content: ONNX.
        where: it comes from, for errors.

    Attributes:
        obs_size: numbers in an observation.
        recurrent: whether an answer depends on the observations before it.

    Raises:
        CheckpointError: it cannot be loaded.
    """

    def __init__(self, content: bytes, where: str) -> None:
        try:
            self._session = onnxruntime.InferenceSession(
                content, _one_thread(), providers=["CPUExecutionProvider"]
            )
        except Exception as e:  # the runtime has no base class for its errors
            raise CheckpointError(f"{where}: not a usable network: {e}") from e
        sizes = {i.name: i.shape[-1] for i in self._session.get_inputs()}
        self.obs_size = int(sizes.pop("obs", 0))
        self._empty: dict[str, Floats] = {
            name: np.zeros((1, size), dtype=np.float32) for name, size in sizes.items()
        }
        if set(self._empty) - set(STATE):
            raise CheckpointError(f"{where}: expected inputs obs, h and c, found {set(sizes)}")
        self.recurrent = bool(self._empty)
        self._state = self._empty

    def begin(self) -> None:
        """Remember nothing: an episode begins."""
        self._state = self._empty

    def outputs(self, obs: Floats) -> Floats:
        """Return the outputs for obs, float32 [obs_size]."""
        if not self._empty:  # the names of outputs are looked up otherwise
            plain: list[Any] = self._session.run(None, {"obs": obs.reshape(1, -1)})
            first: Floats = plain[0][0]
            return first
        names = ["outputs", *(f"{name}_next" for name in self._empty)]
        out, *state = self._session.run(names, {"obs": obs.reshape(1, -1), **self._state})
        self._state = dict(zip(self._empty, state, strict=True))
        found: Floats = out[0]
        return found


def prove(network: Network, checkpoint: Checkpoint, width: int) -> tuple[Floats, Floats]:
    """Return what a network answers to a checkpoint's golden observations, and what it did.

    Raises:
        CheckpointError: it does not answer as when it was written.
    """
    golden = checkpoint.tensors(GOLDEN)
    where = checkpoint.path / GOLDEN
    if {"obs", "outputs"} - set(golden) or not len(golden["obs"]):
        raise CheckpointError(f"{where}: expected rows of obs and outputs, found none")
    network.begin()
    try:
        found = np.stack([network.outputs(row) for row in golden["obs"]])
    except Exception as e:
        raise CheckpointError(f"{where}: the network refuses an observation: {e}") from e
    network.begin()
    want = golden["outputs"]
    if found.shape != (len(golden["obs"]), width) or want.shape != found.shape:
        raise CheckpointError(
            f"{where}: expected outputs [{len(golden['obs'])}, {width}], the network gives "
            f"{list(found.shape)}, the file holds {list(want.shape)}"
        )
    worst = float(np.abs(found - want).max())
    if not worst <= _TOLERANCE:
        raise CheckpointError(
            f"{where}: the network's outputs differ by {worst:.3g} from those written with it"
        )
    return found, want


def check_choices(checkpoint: Checkpoint, found: Floats, want: Floats) -> None:
    """Refuse outputs [rows, n] that prefer others than they did.

    A tie within the tolerance may fall either way on another CPU; that is no other policy.

    Raises:
        CheckpointError: they do.
    """
    top = np.take_along_axis(want, found.argmax(axis=1)[:, None], axis=1)[:, 0]
    if (want.max(axis=1) - top > 2 * _TOLERANCE).any():
        where = checkpoint.path / GOLDEN
        raise CheckpointError(f"{where}: the network prefers other actions than it did")


def network_of(checkpoint: Checkpoint) -> Network:
    """Return the network in a checkpoint.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    return Network(checkpoint.read(ONNX), str(checkpoint.path / ONNX))


def _one_thread() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options
