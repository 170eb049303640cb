"""What a policy's run was worth: pure NumPy, each formula with its source."""

import math
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.statistics import sharpe as ratios

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_NS_PER_YEAR: Final = 365.25 * 86_400e9


@dataclass(frozen=True)
class Track:
    """A policy's run, from its first decision to its last row; n steps give n + 1 points.

    Attributes:
        ts_ns: int64 [n + 1], times of the rows.
        price: float64 [n + 1], close, or mid of quotes.
        equity: float64 [n + 1], in account currency, marked at `price`.
        position_qty: float64 [n + 1], in units, signed.
        fees: float64 [n + 1], paid so far.
        traded: float64 [n + 1], notional traded so far.
        fills: float64 [k, 5]: ts_event_ns, signed quantity, price, commission, step.
        multiplier: notional of one unit at a price of one.
        ruined: whether it ended because the account was ruined.
        targets: float64 [n], what the policy asked for; empty where that was not kept.
        gross: float64 [n + 1], notional held in all instruments without its signs; empty where
            there is one, whose position says it.
    """

    ts_ns: Ints
    price: Floats
    equity: Floats
    position_qty: Floats
    fees: Floats
    traded: Floats
    fills: Floats
    multiplier: float = 1.0
    ruined: bool = False
    targets: Floats = field(default_factory=lambda: np.empty(0))
    gross: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def notional(self) -> Floats:
        """Notional held, without signs: float64 [n + 1]."""
        if len(self.gross):
            return self.gross
        return np.asarray(np.abs(self.position_qty * self.price) * self.multiplier)

    @property
    def steps(self) -> int:
        """Decisions taken."""
        return len(self.equity) - 1

    @property
    def returns(self) -> Floats:
        """Simple returns of the steps: float64 [n]."""
        return np.asarray(self.equity[1:] / self.equity[:-1] - 1.0)

    @property
    def trading_steps(self) -> int:
        """Decisions that were followed by a fill before the next."""
        return len(np.unique(self.fills[:, 4]))


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a track; those without a value, such as the Sharpe ratio of nothing, are None.

    Attributes:
        steps: decisions taken.
        total_return: end over start, less 1, after all costs.
        log_return: log of end over start.
        sharpe: annualized, of the returns of a step, without a risk-free rate.
        sortino: annualized, against a return of 0.
        psr: probability that the true Sharpe ratio exceeds 0.
        max_drawdown: deepest fall from a peak, as a share of the peak.
        turnover: notional traded over mean equity.
        trades: fills.
        fees: paid, in account currency.
        exposure: mean of position notional over equity.
        in_market: share of steps that began with a position.
        periods_per_year: steps a year, as counted over the track; what annualizing rests on.
        ruined: whether the account was ruined.
    """

    steps: int
    total_return: float
    log_return: float
    sharpe: float | None
    sortino: float | None
    psr: float | None
    max_drawdown: float
    turnover: float
    trades: int
    fees: float
    exposure: float
    in_market: float
    periods_per_year: float
    ruined: bool


def measure(track: Track) -> Metrics:
    """Return the figures of a track of at least one step."""
    equity = track.equity
    returns = track.returns
    per_year = periods_per_year(track.ts_ns)
    growth = float(equity[-1] / equity[0])
    record = ratios.moments(returns)
    return Metrics(
        steps=track.steps,
        total_return=growth - 1.0,
        log_return=math.log(growth) if growth > 0 else -math.inf,
        sharpe=_times(ratios.sharpe(returns), math.sqrt(per_year)),
        sortino=_times(sortino(returns), math.sqrt(per_year)),
        psr=None if record is None else ratios.psr(record),
        max_drawdown=float(drawdown(equity).max()),
        turnover=float(track.traded[-1] / equity.mean()),
        trades=len(track.fills),
        fees=float(track.fees[-1]),
        exposure=float(np.mean(track.notional / equity)),
        in_market=float(np.mean(track.notional[:-1] != 0)),
        periods_per_year=per_year,
        ruined=track.ruined,
    )


def periods_per_year(ts_ns: Ints) -> float:
    """Return how many steps there are in a year of 365.25 days, at the pace of these times.

    Counted, not assumed: nights, weekends and holidays without rows are in it.
    """
    span = float(ts_ns[-1] - ts_ns[0])
    return (len(ts_ns) - 1) * _NS_PER_YEAR / span if span > 0 else 0.0


def sortino(returns: Floats) -> float | None:
    """Return mean over downside deviation, against 0 (Sortino and Price 1994)."""
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2))) if len(returns) else 0.0
    return float(np.mean(returns)) / downside if downside > 0 else None


def drawdown(equity: Floats) -> Floats:
    """Return the fall from the highest equity so far, as a share of it: float64 [n]."""
    peak = np.maximum.accumulate(equity)
    return np.asarray((peak - equity) / peak)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
