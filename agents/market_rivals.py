"""The policies that an agent on a market is shown beside: none of them has learned. NumPy only.

They read what they hold from the account in the observation, so that each is a function of what it
sees.
"""

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.checkpoint import Manifest
from agents.market_policy import Action, MarketPolicy, Obs, counts, nothing, parts
from agents.metrics import Track
from envs.market_spec import HOLDING, MarketSpec
from envs.schemes import COLUMNS, MARKET, Mask, Weights
from grid.errors import ArgonautError

_MEAN_CHANGE: Final = 2.0 / 3.0  # between two even draws from -1 to 1


def rivals(
    manifest: Manifest, market: MarketSpec, agent: Track, seed: int
) -> tuple[dict[str, MarketPolicy], list[str]]:
    """Return the baselines of an agent by name, and what is to be said of them, a sentence each.

    Args:
        manifest: of the agent's checkpoint.
        market: the market in it.
        agent: its track; the random one trades as much, or as often with orders.
        seed: of the random one.
    """
    if isinstance(market.action, Weights):
        turnover = float(agent.traded[-1] / agent.equity.mean()) / agent.steps
        change = turnover / (_MEAN_CHANGE * market.action.gross * len(market.traded))
        notes = [
            "hold keeps an equal weight of each instrument.",
            f"random draws its weights evenly, with the agent's turnover and seed {seed}.",
        ]
    else:
        change = agent.trading_steps / agent.steps
        notes = [
            "hold buys of each instrument what it may.",
            "random draws evenly from what is possible, as often as the agent traded, with seed "
            f"{seed}.",
        ]
    found: dict[str, MarketPolicy] = {
        "flat": Flat(market),
        "hold": Hold(market),
        "random": Random(market, min(1.0, change), seed),
    }
    from agents.untrained import untrained_market  # seconds of loading torch

    try:
        found["untrained"] = untrained_market(manifest)
        notes.append("untrained is the agent's own network before its first decision.")
    except ArgonautError as e:
        notes.append(f"Without the untrained network: {e}.")
    return found, notes


class Flat:
    """Orders nothing, and holds nothing."""

    def __init__(self, spec: MarketSpec) -> None:
        self._nothing = nothing(spec)

    def begin(self) -> None:
        """Remember nothing."""

    def act(self, obs: Obs, mask: Mask) -> Action:
        """Return an action that does nothing."""
        return self._nothing


class Hold:
    """Holds an equal weight of each instrument; with orders buys of each what it may."""

    def __init__(self, spec: MarketSpec) -> None:
        self._spec = spec
        self._nothing = nothing(spec)

    def begin(self) -> None:
        """Remember nothing."""

    def act(self, obs: Obs, mask: Mask) -> Action:
        """Return equal weights, or an order to buy at the market as long as one is possible."""
        action, n = self._nothing, len(self._spec.traded)
        if isinstance(self._spec.action, Weights):
            return np.full(n, 1.0 / n, dtype=np.float32)
        most = int(np.argmax(self._spec.action.sizes))
        table = action.reshape(n, COLUMNS).copy()
        for row, possible in zip(table, _possible(mask, self._spec), strict=True):
            if possible[0][MARKET] and possible[1][0]:
                row[:] = MARKET, 0, most, 0, 0
        return table.reshape(-1)


class Random:
    """Draws another action with a probability at each decision, from the observation's bits.

    Weights are drawn evenly from -1 to 1, and kept until the next draw; orders evenly from what is
    possible.

    Args:
        spec: for the actions there are.
        change: probability of a draw.
        seed: of the draws.
    """

    def __init__(self, spec: MarketSpec, change: float, seed: int = 0) -> None:
        self._spec, self._change, self._seed = spec, change, seed
        self._nothing = nothing(spec)

    def begin(self) -> None:
        """Remember nothing."""

    def act(self, obs: Obs, mask: Mask) -> Action:
        """Return what was drawn, or what keeps all as it is."""
        rng = np.random.default_rng([self._seed, zlib.crc32(obs.tobytes())])
        draws, n, rule = rng.random() < self._change, len(self._spec.traded), self._spec.action
        if isinstance(rule, Weights):
            if draws:
                return rng.uniform(-1.0, 1.0, n)
            held = obs[-len(HOLDING) * n :].reshape(n, len(HOLDING))[:, :2].sum(axis=1) / rule.gross
            return np.asarray(np.clip(held, -1.0, 1.0))
        if not draws:
            return self._nothing
        chosen = [rng.choice(np.flatnonzero(p)) for row in _possible(mask, self._spec) for p in row]
        return np.array(chosen)


def _possible(mask: Mask, spec: MarketSpec) -> list[list[NDArray[np.int8]]]:
    """What is possible, an array of flags for each number of each instrument's action."""
    rows = parts(mask, counts(spec))
    return [rows[i : i + COLUMNS] for i in range(0, len(rows), COLUMNS)]
