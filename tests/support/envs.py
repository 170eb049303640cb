"""Envs that can be told what to do, and the recipes of them."""

import os
import sys
import time
from typing import Any

import gymnasium
import msgspec
import numpy as np
from gymnasium import spaces

from envs.fills import EnvFill, MarketFill
from envs.market import MarketEnv
from envs.recipe import Recipe
from envs.schemes import Orders
from envs.trading import TradingEnv
from envs.views import View
from grid.venue import Venue
from tests.support import markets

SPACES: dict[str, spaces.Space[Any]] = {
    "box": spaces.Box(-1e6, 1e6, (3,), np.float32),
    "image": spaces.Box(0, 255, (2, 3, 1), np.uint8),
    "discrete": spaces.Discrete(4, start=1),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary((2, 2)),
    "dict": spaces.Dict(
        {"b": spaces.Discrete(3), "a": spaces.Tuple([spaces.Box(-1, 1, (2,)), spaces.Discrete(2)])}
    ),
}


class CountingEnv(gymnasium.Env[Any, Any]):
    """Draws observations from its generator; an episode is as long as it was told."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(self, obs: str, action: str, steps: int, ruin: bool) -> None:
        self.observation_space = SPACES[obs]
        self.action_space = SPACES[action]
        self._steps = steps
        self._ruin = ruin
        self._step = 0
        self.mood = "calm"

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._step = 0
        return self.observation_space.sample(), {"step": 0, "options": options or {}}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Do as `mood` says."""
        assert self.action_space.contains(action), action
        match self.mood:
            case "raise":
                raise KeyError("the moon")
            case "exit":
                print("farewell", file=sys.stderr, flush=True)
                os._exit(3)
            case "sleep":
                time.sleep(60)
        self._step += 1
        over = self._step >= self._steps
        info = {"step": self._step, "half": self._step / 2, "even": self._step % 2 == 0}
        info |= {"mask": np.array([1, 0], dtype=np.int8), "deep": {"x": 1.5}, "names": ["a", "b"]}
        reward = float(self.np_random.normal())
        return (
            self.observation_space.sample(), reward, over and self._ruin,
            over and not self._ruin, info,
        )  # fmt: skip

    def render(self) -> Any:
        """Return a frame that shows the step."""
        return np.full((4, 5, 3), self._step, dtype=np.uint8)

    def loaded(self, names: list[str]) -> list[str]:
        """Return which modules are loaded here."""
        return [name for name in names if name in sys.modules]

    def numbers(self) -> float:
        """Draw from the generator that all share who do not seed their own."""
        return float(np.random.random())


class Clipped(gymnasium.RewardWrapper[Any, Any]):
    """A wrapper that does nothing."""

    def reward(self, reward: Any) -> Any:
        return reward


class Counting(Recipe, frozen=True, kw_only=True):
    """Makes a `CountingEnv`."""

    obs: str = "box"
    action: str = "discrete"
    steps: int = 5
    ruin: bool = False
    wrapped: bool = False
    fails: bool = False

    def make(self) -> gymnasium.Env[Any, Any]:
        if self.fails:
            raise ValueError("no such env")
        env = CountingEnv(self.obs, self.action, self.steps, self.ruin)
        return Clipped(env) if self.wrapped else env


class Trading(Recipe, frozen=True, kw_only=True):
    """Makes a `TradingEnv` on bars in memory."""

    steps: int = 30
    seed: int = 0
    kind: str = "discrete"
    ruin: float = 0.5
    capital: float = 100_000.0

    def make(self) -> TradingEnv:
        columns = markets.bar_columns(300, self.seed)
        data = markets.dataset(columns)
        spec = markets.spec_for(data, kind=self.kind)
        spec = msgspec.structs.replace(spec, capital=self.capital)
        return TradingEnv(data, spec, Venue(ruin=self.ruin), steps=self.steps)

    def info_types(self) -> dict[str, Any]:
        return {"fills": list[EnvFill]}


class OrderByOrder(Recipe, frozen=True, kw_only=True):
    """Makes a `MarketEnv` with single orders on bars in memory, its observation one flat array."""

    steps: int = 40
    max_qty: float = 2_000.0

    def make(self) -> MarketEnv:
        data = markets.dataset(markets.bar_columns(300))
        view = View("bars", data, ("log_return:1", "rsi:10"), train_rows=(0, 200), window=4)
        orders = Orders(sizes=(1_000.0,), max_qty=self.max_qty, offsets_ticks=(5, 30))
        return MarketEnv([view], orders, Venue(), steps=self.steps, flat=True)

    def info_types(self) -> dict[str, Any]:
        return {"fills": list[MarketFill]}
