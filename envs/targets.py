"""The actions of one position: the index of a level, or the target itself."""

import operator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from grid.errors import ConfigError
from grid.spec import TargetRule


class Targets:
    """What an action means under a rule.

    Args:
        rule: discrete levels, or any target.

    Attributes:
        space: of the actions.
    """

    def __init__(self, rule: TargetRule) -> None:
        self._levels = rule.levels if rule.kind == "discrete" else ()
        self.space: gymnasium.Space[Any] = (
            spaces.Discrete(len(self._levels))
            if self._levels
            else spaces.Box(-1.0, 1.0, (1,), np.float32)
        )

    def of(self, action: Any) -> float:
        """Return the target, from -1 to 1, of an action.

        Raises:
            ConfigError: the action is not in the space.
        """
        if self._levels:
            try:
                index = operator.index(action)
                if index >= 0:
                    return self._levels[index]
            except (TypeError, IndexError):
                pass
            raise ConfigError(
                f"action: expected a whole number from 0 to {len(self._levels) - 1}, "
                f"found {action!r}"
            )
        target = float(np.asarray(action, dtype=np.float64).reshape(-1)[0])
        if not -1.0 <= target <= 1.0:
            raise ConfigError(f"action: expected a target from -1 to 1, found {target}")
        return target
