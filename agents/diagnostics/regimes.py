"""Does a policy earn in calm markets, in wild ones, or in both?"""

import math
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.metrics import Track
from agents.statistics.sharpe import sharpe

type Floats = NDArray[np.float64]

NAMES: Final = ("calm", "usual", "wild")
_LEAST: Final = 30  # steps of the trailing window, and of a regime


class Regime(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of one tercile of volatility.

    Attributes:
        name: calm, usual or wild.
        steps: that begin in it.
        volatility: annualized, mean of the trailing one.
        log_return: of the policy, summed.
        market: log return of the price, summed.
        sharpe: of the policy, annualized; None where it does not vary.
        exposure: mean of position notional over equity.
    """

    name: str
    steps: int
    volatility: float
    log_return: float
    market: float
    sharpe: float | None
    exposure: float


def regimes(track: Track, per_year: float, window: int | None = None) -> tuple[Regime, ...]:
    """Return a track by terciles of the volatility that was known when a step began.

    Args:
        track: of at least four windows, else nothing comes back.
        per_year: steps in a year.
        window: steps of the trailing volatility; a fiftieth of the track by default, 30 at least.
    """
    window = max(_LEAST, track.steps // 50) if window is None else window
    if track.steps < 4 * window:
        return ()
    moves = np.diff(np.log(track.price))
    known = trailing(moves, window)  # of the steps from `window` on
    bounds = np.quantile(known, [1 / 3, 2 / 3])
    tercile = np.searchsorted(bounds, known)
    equity = track.equity[window:]
    returns = equity[1:] / equity[:-1] - 1.0
    growth = np.diff(np.log(np.maximum(equity, 1e-300)))
    notional = track.notional[window + 1 :]
    root = math.sqrt(per_year)
    found = []
    for i, name in enumerate(NAMES):
        at = tercile == i
        ratio = sharpe(returns[at])
        found.append(
            Regime(
                name=name,
                steps=int(at.sum()),
                volatility=float(known[at].mean()) * root if at.any() else 0.0,
                log_return=float(growth[at].sum()),
                market=float(moves[window:][at].sum()),
                sharpe=None if ratio is None else ratio * root,
                exposure=float((notional / equity[:-1])[at].mean()) if at.any() else 0.0,
            )
        )
    return tuple(found)


def trailing(moves: Floats, window: int) -> Floats:
    """Return the root mean square of the `window` moves before each: float64 [n - window]."""
    sums = np.concatenate([[0.0], np.cumsum(moves**2)])
    return np.asarray(np.sqrt(np.maximum(sums[window:-1] - sums[: -window - 1], 0.0) / window))
