"""What acts on several instruments or by orders: observation and mask in, action out. Light."""

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.checkpoint import Checkpoint
from agents.network import Network, check_choices, network_of, prove
from envs.market_spec import MarketSpec
from envs.schemes import COLUMNS, Mask, Orders, Weights

type Obs = NDArray[np.float32]
type Action = NDArray[Any]

MASKED: Final = "MaskablePPO"


class MarketPolicy(Protocol):
    """Maps an observation to an action."""

    def begin(self) -> None:
        """Remember nothing: an episode begins."""
        ...

    def act(self, obs: Obs, mask: Mask) -> Action:
        """Return the action for obs, float32 [obs_size], where `mask` says what is possible."""
        ...


class MarketNetwork:
    """A network for a market: its outputs are weights, or logits of an action's numbers.

    Args:
        spec: what observation and action mean.
        network: what acts.
        masked: whether it was trained to choose among what is possible.
    """

    def __init__(self, spec: MarketSpec, network: Network, *, masked: bool) -> None:
        self.spec = spec
        self.network = network
        self._masked = masked
        self._counts = counts(spec)

    def begin(self) -> None:
        """Remember nothing: an episode begins."""
        self.network.begin()

    def act(self, obs: Obs, mask: Mask) -> Action:
        """Return the clipped weights, or for each number what has the highest logit."""
        out = self.network.outputs(obs)
        if not self._counts:
            return np.clip(out, -1.0, 1.0)
        if self._masked:
            out = np.where(mask.astype(bool), out, -np.inf)
        return np.array([int(part.argmax()) for part in parts(out, self._counts)])


def load(checkpoint: Checkpoint) -> MarketNetwork:
    """Return the policy in a checkpoint, proved.

    Raises:
        CheckpointError: the network cannot be loaded, or does not give the outputs that it gave
            when it was written.
    """
    m = checkpoint.manifest
    assert m.market is not None
    network = network_of(checkpoint)
    found, want = prove(network, checkpoint, width(m.market))
    for ours, theirs in zip(*(parts(x, counts(m.market)) for x in (found, want)), strict=True):
        check_choices(checkpoint, ours, theirs)
    return MarketNetwork(m.market, network, masked=m.algo == MASKED)


def counts(spec: MarketSpec) -> tuple[int, ...]:
    """Return how many values each number of an action may have; nothing where they are weights."""
    return spec.action.counts * len(spec.traded) if isinstance(spec.action, Orders) else ()


def width(spec: MarketSpec) -> int:
    """Return how many outputs a network has."""
    return sum(counts(spec)) or len(spec.traded)


def nothing(spec: MarketSpec) -> Action:
    """Return the action that orders nothing; with weights, that holds nothing."""
    n = len(spec.traded)
    if isinstance(spec.action, Weights):
        return np.zeros(n, dtype=np.float32)
    return np.zeros(n * COLUMNS, dtype=np.int64)


def parts(values: NDArray[Any], sizes: tuple[int, ...]) -> list[NDArray[Any]]:
    """Cut the last axis into parts of so many values each."""
    return np.split(values, np.cumsum(sizes)[:-1], axis=-1) if sizes else []
