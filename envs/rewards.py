"""Rewards by name: what a step did to the account, as one number.

A reward is a function of a `Step`, or a class whose instances are called with each step and forget
on `reset` what they have gathered over an episode. Numbers after the name are its parameters:
`differential_sharpe:0.01`. One's own is a dotted path, `my.module:my_reward` or
`my.module:my_reward:0.5`. All are after all costs, since equity is.
"""

import importlib
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, cast

from grid.errors import ConfigError


class Executed(NamedTuple):
    """A fill, beside the price that stood when its order was decided on.

    Attributes:
        signed_qty: positive for a buy.
        px: of the fill.
        arrival_px: close or mid at the decision that changed the target or gave the order.
        commission: in account currency.
        multiplier: account currency for one unit at a price of one.
    """

    signed_qty: float
    px: float
    arrival_px: float
    commission: float
    multiplier: float


class Step(NamedTuple):
    """What happened to the account in one step, in account currency.

    Attributes:
        equity_before: marked at the last decision.
        equity: marked now.
        peak: highest equity of the episode up to the last decision.
        capital: starting balance.
        traded: notional traded in the step.
        fills: those of the step.
    """

    equity_before: float
    equity: float
    peak: float
    capital: float
    traded: float
    fills: Sequence[Executed] = ()


class Reward(Protocol):
    """What an env calls."""

    def reset(self) -> None:
        """An episode begins."""

    def __call__(self, step: Step) -> float:
        """Return the reward of a step."""


_RUIN: Final = 1e-9  # share of capital that stands in for nothing, whose log does not exist
_SHARPE_BOUND: Final = 10.0
_NO_VARIANCE: Final = 1e-12  # share of the mean square that is rounding


def log_equity(step: Step) -> float:
    """Change of log equity: what compounding wealth maximizes (Kelly 1956)."""
    floor = _RUIN * step.capital
    return math.log(max(step.equity, floor) / max(step.equity_before, floor))


def profit(step: Step) -> float:
    """Mark-to-market profit after costs, as a share of capital."""
    return (step.equity - step.equity_before) / step.capital


def drawdown_penalized(step: Step, weight: float = 1.0) -> float:
    """Change of log equity, less `weight` times the new depth below the episode's peak.

    The depth is a share of the peak; only its growth counts, so that a loss is not paid for twice.
    """
    deeper = max(0.0, step.peak - step.equity) - max(0.0, step.peak - step.equity_before)
    return log_equity(step) - weight * max(0.0, deeper) / step.peak


class DifferentialSharpe:
    """The derivative of an exponentially weighted Sharpe ratio with respect to its newest return.

    Moody and Saffell (2001), with R the change of log equity:

        D = (B dA - A dB / 2) / (B - A^2)^(3/2),  dA = R - A,  dB = R^2 - B,
        A += eta dA,  B += eta dB,

    A and B from before the step, both 0 at the start of an episode. D is 0 while there is no
    variance, and held between -10 and 10: the variance of a few first returns may be next to none.

    Args:
        eta: adaptation rate: about 1 / eta steps are remembered.
    """

    unitless = True

    def __init__(self, eta: float = 0.01) -> None:
        if not 0.0 < eta < 1.0:
            raise ValueError(f"expected an adaptation rate between 0 and 1, found {eta:g}")
        self.eta = eta
        self.reset()

    def reset(self) -> None:
        """Forget all returns."""
        self._mean = self._square = 0.0

    def __call__(self, step: Step) -> float:
        """Return D and take the step's return in."""
        mean, square = self._mean, self._square
        found = log_equity(step)
        mean_move, square_move = found - mean, found * found - square
        self._mean += self.eta * mean_move
        self._square += self.eta * square_move
        variance = square - mean * mean
        if variance <= _NO_VARIANCE * square:
            return 0.0
        ratio = (square * mean_move - mean * square_move / 2.0) / math.pow(variance, 1.5)
        return max(-_SHARPE_BOUND, min(_SHARPE_BOUND, ratio))


class ExecutionShortfall:
    """Minus what execution cost against the arrival price, as a share of capital.

    Perold (1988): the sum over the step's fills of (px - arrival) x signed quantity, and their
    commissions. The arrival price is the close or mid at the decision that changed the target or
    gave the order: latency, spread and slippage lie between the two. Never trading costs nothing,
    so this is a reward for agents whose target is given, or a part of one's own.
    """

    def reset(self) -> None:
        """Nothing is kept."""

    def __call__(self, step: Step) -> float:
        """Return the step's shortfall, negative if it cost."""
        cost = sum(
            (f.px - f.arrival_px) * f.signed_qty * f.multiplier + f.commission for f in step.fills
        )
        return -cost / step.capital


REWARDS: Final[dict[str, Any]] = {
    "log_equity": log_equity,
    "profit": profit,
    "drawdown_penalized": drawdown_penalized,
    "differential_sharpe": DifferentialSharpe,
    "execution_shortfall": ExecutionShortfall,
}


class _Plain:
    """A function with its parameters; there is nothing to forget."""

    def __init__(self, function: Callable[..., float], params: Sequence[float]) -> None:
        self._function = function
        self._params = params

    def reset(self) -> None:
        pass

    def __call__(self, step: Step) -> float:
        return self._function(step, *self._params)


def find(text: str) -> Reward:
    """Return the reward of that name or dotted path, with its parameters.

    Args:
        text: `name:number:...` or `module:name:number:...`.

    Raises:
        ConfigError: there is none, or its parameters do not fit.
    """
    name, *rest = text.split(":")
    if name in REWARDS:
        found = REWARDS[name]
    elif rest:
        found = _imported(text, name, rest.pop(0))
    else:
        raise ConfigError(
            f"unknown reward {name!r}; there are: {', '.join(REWARDS)}, and one's own as "
            "module:name"
        )
    return _made(text, found, rest)


def is_unitless(text: str) -> bool:
    """Whether a reward is of the order of 1 by itself, whatever the price moves."""
    return bool(getattr(find(text), "unitless", False))


def _made(text: str, found: Any, rest: Sequence[str]) -> Reward:
    try:
        params = [float(number) for number in rest]
        if isinstance(found, type):
            reward = found(*params)
            if callable(reward) and callable(getattr(reward, "reset", None)):
                return cast("Reward", reward)
            raise ConfigError(f"reward {text!r}: expected a class with __call__ and reset")
        inspect.signature(found).bind(None, *params)
        return _Plain(found, params)
    except (TypeError, ValueError) as e:
        raise ConfigError(f"reward {text!r}: parameters do not fit: {e}") from e


def _imported(text: str, module: str, attribute: str) -> Any:
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as e:  # a person's own module may fail in any way
        raise ConfigError(f"reward {text!r} cannot be imported: {type(e).__name__}: {e}") from e
    if not callable(found):
        raise ConfigError(f"reward {text!r}: expected a function or a class")
    return found
