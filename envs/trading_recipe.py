"""A `TradingEnv` as plain data."""

from pathlib import Path
from typing import Any, Literal

from envs.fills import EnvFill
from envs.recipe import Recipe
from envs.trading import TradingEnv
from grid.dataset import Dataset
from grid.spec import Spec
from grid.venue import Venue


class EnvRecipe(Recipe, frozen=True, kw_only=True):
    """All that a process needs to build its env; see `envs.trading.TradingEnv`.

    Attributes:
        dataset: its folder.
        observation: `window`, or `index` for policies that gather the window themselves.
    """

    dataset: Path
    spec: Spec
    venue: Venue
    rows: tuple[int, int]
    steps: int
    reward: str
    reward_scale: float
    observation: Literal["window", "index"] = "window"

    def make(self) -> TradingEnv:
        """Return the env."""
        return TradingEnv(
            Dataset.open(self.dataset),
            self.spec,
            self.venue,
            rows=self.rows,
            steps=self.steps,
            reward=self.reward,
            reward_scale=self.reward_scale,
            observation=self.observation,
        )

    def info_types(self) -> dict[str, Any]:
        """Return that fills are `EnvFill`."""
        return {"fills": list[EnvFill]}
