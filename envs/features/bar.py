"""Features of bars: their shape, and what highs and lows say of volatility."""

from typing import Final

import numpy as np

from envs.features.kernel import Floats, Rows, feature, ratio, total, windows

_PARKINSON: Final = 4.0 * np.log(2.0)


@feature("log price", ("high", "low"), lambda: 1)
def bar_range(rows: Rows) -> Floats:
    """Height of the bar: log of high over low."""
    return np.asarray(np.log(rows["high"] / rows["low"]))


@feature("share of -1 to 1", ("open", "high", "low", "close"), lambda: 1)
def bar_body(rows: Rows) -> Floats:
    """Close less open, as a share of the bar's height."""
    return ratio(rows["close"] - rows["open"], rows["high"] - rows["low"])


@feature("share of -1 to 1", ("high", "low", "close"), lambda: 1)
def bar_close(rows: Rows) -> Floats:
    """Place of the close between the bar's low (-1) and high (1).

    Chaikin's close location value: ((close - low) - (high - close)) / (high - low).
    """
    high, low, close = rows["high"], rows["low"], rows["close"]
    return ratio((close - low) - (high - close), high - low)


@feature("log return", ("open", "close"), lambda: 2)
def bar_gap(rows: Rows) -> Floats:
    """Jump from the close before to the open: its log return."""
    return np.asarray(np.log(rows["open"][1:] / rows["close"][:-1]))


@feature("share of price", ("high", "low", "close"), lambda n: n + 1)
def atr(rows: Rows, n: int) -> Floats:
    """Average true range: mean over n rows of the range with the close before, over the price.

    Wilder (1978): max(high, close before) - min(low, close before). A simple mean in place of his
    recursion, so that its memory is finite.
    """
    close = rows["close"]
    before = close[:-1]
    ranges = np.maximum(rows["high"][1:], before) - np.minimum(rows["low"][1:], before)
    return np.asarray(total(windows(ranges, n)) / n / close[n:])


@feature("log return", ("high", "low"), lambda n: n)
def range_volatility(rows: Rows, n: int) -> Floats:
    """Volatility of a row from the highs and lows of n rows.

    Parkinson (1980): sqrt(mean(log(high / low)^2) / (4 log 2)).
    """
    squares = np.square(bar_range(rows))
    return np.asarray(np.sqrt(total(windows(squares, n)) / n / _PARKINSON))
