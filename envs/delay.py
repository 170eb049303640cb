"""Actions that come too late: what a policy is worth if its every decision waits for the next."""

from collections import deque
from typing import Any

import gymnasium
import numpy as np

from envs.trading import TradingEnv
from grid.errors import ConfigError


class Delayed(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A `TradingEnv` that carries out each action so many decisions after it was taken.

    Until the first arrives, the target is the one nearest to 0.

    Args:
        env: to delay.
        decisions: how many to wait.

    Raises:
        ConfigError: the number is less than 1.
    """

    def __init__(self, env: TradingEnv, decisions: int = 1) -> None:
        super().__init__(env)
        if decisions < 1:
            raise ConfigError(f"delay: expected 1 decision or more, found {decisions}")
        rule = env.pipeline.spec.target
        self._idle: Any = (
            int(np.argmin(np.abs(rule.levels)))
            if rule.kind == "discrete"
            else np.zeros(1, dtype=np.float32)
        )
        self._decisions = decisions
        self._waiting: deque[Any] = deque()

    def reset(self, **how: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode; nothing is under way."""
        self._waiting = deque([self._idle] * self._decisions)
        return self.env.reset(**how)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Keep the action and carry out the oldest that waits."""
        self._waiting.append(action)
        return self.env.step(self._waiting.popleft())
