"""Rewards by name: pure functions of the account before and after a step.

All are after all costs, since equity is. One's own is a dotted path, `my.module:my_reward`.
"""

import math
from collections.abc import Callable
from importlib import import_module
from typing import Final, NamedTuple

from grid.errors import ConfigError


class Step(NamedTuple):
    """What happened to the account in one step, in account currency.

    Attributes:
        equity_before: marked at the last decision.
        equity: marked now.
        peak: highest equity of the episode up to the last decision.
        capital: starting balance.
        traded: notional traded in the step.
    """

    equity_before: float
    equity: float
    peak: float
    capital: float
    traded: float


type Reward = Callable[[Step], float]

_RUIN: Final = 1e-9  # share of capital that stands in for nothing, whose log does not exist


def log_equity(step: Step) -> float:
    """Change of log equity: what compounding wealth maximizes (Kelly 1956)."""
    floor = _RUIN * step.capital
    return math.log(max(step.equity, floor) / max(step.equity_before, floor))


def profit(step: Step) -> float:
    """Change of equity, as a share of capital."""
    return (step.equity - step.equity_before) / step.capital


def drawdown_penalized(step: Step) -> float:
    """Change of log equity, less the new depth below the episode's peak as a share of it."""
    deeper = max(0.0, step.peak - step.equity) - max(0.0, step.peak - step.equity_before)
    return log_equity(step) - max(0.0, deeper) / step.peak


REWARDS: Final[dict[str, Reward]] = {
    "log_equity": log_equity,
    "profit": profit,
    "drawdown_penalized": drawdown_penalized,
}


def find(name: str) -> Reward:
    """Return the reward of that name or dotted path.

    Raises:
        ConfigError: there is none.
    """
    if name in REWARDS:
        return REWARDS[name]
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ConfigError(f"unknown reward {name!r}; there are: {', '.join(REWARDS)}")
    try:
        found: Reward = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as e:
        raise ConfigError(f"reward {name!r} cannot be imported: {e}") from e
    return found
