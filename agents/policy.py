"""What acts: an observation in, a target in [-1, 1] out. Light: no torch.

The same observations, in the same order since the beginning of an episode, give the same targets;
without an LSTM each gives the same by itself.
"""

from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents import baselines
from agents.checkpoint import Checkpoint
from agents.network import Network, check_choices, network_of, prove
from grid.errors import ArgonautError, SpecMismatch
from grid.spec import Spec

type Obs = NDArray[np.float32]


class Undecided(ArgonautError):
    """There is no target this time: the decision is skipped, and the next one is asked again.

    Attributes:
        why: in a word, for a counter.
    """

    def __init__(self, why: str, said: str) -> None:
        super().__init__(said)
        self.why = why


class Policy(Protocol):
    """Maps an observation to a target."""

    @property
    def spec(self) -> Spec:
        """What the observation and the target mean."""
        ...

    def act(self, obs: Obs) -> float:
        """Return the target in [-1, 1], a share of `max_qty`, for obs: float32 [obs_size].

        Raises:
            Undecided: what it asks has no answer now.
        """
        ...


class NetworkPolicy:
    """A policy network, see `agents.network`.

    Args:
        spec: what observation and action mean.
        network: what acts.

    Attributes:
        spec: the same.
    """

    def __init__(self, spec: Spec, network: Network) -> None:
        self.spec = spec
        self._network = network
        self._levels = spec.target.levels if spec.target.kind == "discrete" else None

    @property
    def recurrent(self) -> bool:
        """Whether it remembers earlier observations."""
        return self._network.recurrent

    def begin(self) -> None:
        """Remember nothing: an episode begins."""
        self._network.begin()

    def outputs(self, obs: Obs) -> NDArray[np.float32]:
        """Return the network's outputs for obs: one a discrete level, or the target itself."""
        return self._network.outputs(obs)

    def act(self, obs: Obs) -> float:
        """Return the level with the highest output, or the clipped target."""
        return target_of(self.spec, self._network.outputs(obs))


def target_of(spec: Spec, outputs: NDArray[np.float32]) -> float:
    """Return the level with the highest output, or the clipped target."""
    if spec.target.kind == "discrete":
        return spec.target.levels[int(outputs.argmax())]
    return min(1.0, max(-1.0, float(outputs[0])))


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
        SpecMismatch: it holds no single position.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        refuse_market(checkpoint)
        super().__init__(checkpoint.manifest.spec, network_of(checkpoint))
        width = len(self._levels) if self._levels is not None else 1
        found, want = prove(self._network, checkpoint, width)
        if self._levels is not None:
            check_choices(checkpoint, found, want)


def refuse_market(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that a live strategy cannot trade.

    Raises:
        SpecMismatch: it was trained on several instruments, or to order.
    """
    market = checkpoint.manifest.market
    if market is not None:
        raise SpecMismatch(
            f"{checkpoint.path}: expected a target position in one instrument, which is what a "
            f"live strategy trades, found {market.described}; it can be trained, checked and "
            "evaluated"
        )


def begin(policy: Policy) -> None:
    """Tell a policy that an episode begins, if it remembers any."""
    if isinstance(policy, NetworkPolicy):
        policy.begin()


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
    if spec is not None:
        check_spec(str(name), policy, spec)
    return policy


def check_spec(name: str, policy: Policy, spec: Spec) -> None:
    """Refuse a policy called `name` that means something else than a strategy.

    Raises:
        SpecMismatch: it does.
    """
    if policy.spec.digest != spec.digest:
        raise SpecMismatch(
            f"{name}: trained for another spec than the strategy's: {_differences(policy, spec)}"
        )


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
