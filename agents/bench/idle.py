"""An env that does nothing, so that only the way to it and back is left to measure.

In a file of its own: what the processes of envs import must not bring torch.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.recipe import Recipe


class IdleEnv(gymnasium.Env[Any, Any]):
    """Shows `obs_size` zeros."""

    def __init__(self, obs_size: int) -> None:
        self._obs = np.zeros(obs_size, dtype=np.float32)
        self.observation_space = spaces.Box(-5.0, 5.0, self._obs.shape, np.float32)
        self.action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin nothing."""
        return self._obs, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Do nothing."""
        return self._obs, 0.0, False, False, {}


class Idle(Recipe, frozen=True, kw_only=True):
    """Makes an `IdleEnv`."""

    obs_size: int

    def make(self) -> IdleEnv:
        """Return the env."""
        return IdleEnv(self.obs_size)
