"""What acts: an observation in, a target in [-1, 1] out, the same each time. Light: no torch."""

from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from agents import baselines
from agents.checkpoint import GOLDEN, ONNX, Checkpoint
from grid.errors import CheckpointError, SpecMismatch
from grid.spec import Spec

type Obs = NDArray[np.float32]

_TOLERANCE = 1e-5  # of outputs on another kind of CPU; on the same kind they are equal


class Policy(Protocol):
    """Maps an observation to a target."""

    @property
    def spec(self) -> Spec:
        """What the observation and the target mean."""
        ...

    def act(self, obs: Obs) -> float:
        """Return the target in [-1, 1], a share of `max_qty`, for obs: float32 [obs_size]."""
        ...


class NetworkPolicy:
    """A policy network run by ONNX Runtime: batch 1, one thread, the same bits always.

    Args:
        spec: what observation and action mean.
        network: ONNX.
        where: it comes from, for errors.

    Raises:
        CheckpointError: the network cannot be loaded.
    """

    def __init__(self, spec: Spec, network: bytes, where: str) -> None:
        self.spec = spec
        self._levels = spec.target.levels if spec.target.kind == "discrete" else None
        try:
            self._session = onnxruntime.InferenceSession(
                network, _one_thread(), providers=["CPUExecutionProvider"]
            )
        except Exception as e:  # the runtime has no base class for its errors
            raise CheckpointError(f"{where}: not a usable network: {e}") from e

    def outputs(self, obs: Obs) -> NDArray[np.float32]:
        """Return the network's outputs for obs: one a discrete level, or the target itself."""
        result: list[Any] = self._session.run(None, {"obs": obs.reshape(1, -1)})
        out: NDArray[np.float32] = result[0][0]
        return out

    def act(self, obs: Obs) -> float:
        """Return the level with the highest output, or the clipped target."""
        out = self.outputs(obs)
        if self._levels is not None:
            return self._levels[int(out.argmax())]
        return min(1.0, max(-1.0, float(out[0])))


class OnnxPolicy(NetworkPolicy):
    """The policy in a checkpoint.

    Args:
        checkpoint: opened, hence verified.

    Attributes:
        spec: what it was trained for.
        checkpoint: where it comes from.

    Raises:
        CheckpointError: the network cannot be loaded, or does not give the outputs that it gave
            when it was written.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        network = checkpoint.read(ONNX)
        super().__init__(checkpoint.manifest.spec, network, str(checkpoint.path / ONNX))
        self._prove()

    def _prove(self) -> None:
        golden = self.checkpoint.tensors(GOLDEN)
        where = self.checkpoint.path / GOLDEN
        width = len(self._levels) if self._levels is not None else 1
        if {"obs", "outputs"} - set(golden) or not len(golden["obs"]):
            raise CheckpointError(f"{where}: expected rows of obs and outputs, found none")
        try:
            found = np.stack([self.outputs(row) for row in golden["obs"]])
        except Exception as e:
            raise CheckpointError(f"{where}: the network refuses an observation: {e}") from e
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
        if self._levels is not None:
            # a tie within the tolerance may fall either way on another CPU; that is no other policy
            top = np.take_along_axis(want, found.argmax(axis=1)[:, None], axis=1)[:, 0]
            if (want.max(axis=1) - top > 2 * _TOLERANCE).any():
                raise CheckpointError(f"{where}: the network prefers other actions than it did")


def load_policy(name: str | Path, spec: Spec | None = None) -> Policy:
    """Return the policy called `name`.

    Args:
        name: path of a checkpoint or a run, or `baseline:NAME`, see `agents.baselines`.
        spec: what the caller means by observation and action; a baseline needs it, and a
            checkpoint must agree with it.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged.
        ConfigError: there is no such baseline.
        SpecMismatch: the checkpoint was trained for another spec, or a baseline has none.
    """
    if str(name).startswith(baselines.PREFIX):
        if spec is None:
            raise SpecMismatch(f"{name}: a baseline needs the spec of a strategy, found none")
        return baselines.load(str(name), spec)
    policy = OnnxPolicy(Checkpoint.open(Path(name)))
    if spec is not None and policy.spec.digest != spec.digest:
        raise SpecMismatch(
            f"{name}: trained for another spec than the strategy's: {_differences(policy, spec)}"
        )
    return policy


def _differences(policy: Policy, wanted: Spec) -> str:
    found, said = _flat(policy.spec), []
    for key, value in _flat(wanted).items():
        if found[key] != value:
            values = f" {value} expected, found {found[key]}"
            said.append(key + (values if len(values) < 120 else ""))
    return "; ".join(said)


def _flat(spec: Spec) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.to_builtins(spec)
    target = tree.pop("target")
    return {**tree, **{f"target.{key}": value for key, value in target.items()}}


def _one_thread() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options
