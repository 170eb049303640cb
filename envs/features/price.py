"""Features of the price alone: the close of bars, the mid of quotes."""

from functools import lru_cache
from typing import Final

import numpy as np

from envs.features.kernel import Floats, Rows, feature, ratio, returns, total, windows

EMA_SPANS: Final = 4  # rows of an average, in spans: 99.97 % of its weight lies within


@feature("log return", ("close",), lambda n: n + 1)
def log_return(rows: Rows, n: int) -> Floats:
    """Log return over n rows."""
    close = rows["close"]
    return np.asarray(np.log(close[n:] / close[:-n]))


@feature("log return", ("close",), lambda n: n + 1)
def volatility(rows: Rows, n: int) -> Floats:
    """Realized volatility of a row: root mean square of the last n log returns.

    Andersen, Bollerslev, Diebold and Labys (2003): sqrt(sum r^2), here over n.
    """
    return np.asarray(np.sqrt(total(np.square(windows(returns(rows), n))) / n))


@feature("standard deviations", ("close",), lambda n: n + 1)
def momentum(rows: Rows, n: int) -> Floats:
    """Log return over n rows, in units of realized volatility over the same rows."""
    return ratio(log_return(rows, n), volatility(rows, n) * np.sqrt(float(n)))


@feature("standard deviations", ("close",), lambda n: n)
def zscore(rows: Rows, n: int) -> Floats:
    """Distance of the price from its mean over n rows, in standard deviations (Bollinger)."""
    w = windows(rows["close"], n)
    mean = total(w) / n
    spread = np.sqrt(total(np.square(w - mean[:, None])) / n)
    # a constant price leaves a deviation of pure rounding, which must not be divided by
    spread[spread < 1e-12 * np.abs(mean)] = 0.0
    return ratio(w[:, -1] - mean, spread)


@feature("share of -1 to 1", ("close",), lambda n: n + 1)
def rsi(rows: Rows, n: int) -> Floats:
    """Relative strength over n rows, from -1 (only losses) to 1 (only gains).

    Wilder (1978) in Cutler's form: simple means in place of a recursion, so that its memory is
    finite. The index of 0 to 100 is 50 (1 + this).
    """
    w = windows(returns(rows), n)
    gains = total(np.maximum(w, 0.0))
    losses = total(np.maximum(-w, 0.0))
    return ratio(gains - losses, gains + losses)


@feature("share of price", ("close",), lambda fast, slow: EMA_SPANS * slow)
def macd(rows: Rows, fast: int, slow: int) -> Floats:
    """Fast less slow exponential average of the price, over the price.

    Appel (1979), with each average over the last 4 x slow rows and its weights scaled to sum 1.
    """
    return _weighted(rows["close"], _macd_weights(fast, slow))


@feature(
    "share of price",
    ("close",),
    lambda fast, slow, signal: EMA_SPANS * (slow + signal) - 1,
)
def macd_histogram(rows: Rows, fast: int, slow: int, signal: int) -> Floats:
    """MACD less its own exponential average over `signal` rows, over the price.

    Appel's signal line and Aspray's histogram (1986), as one weighted sum of finite length.
    """
    return _weighted(rows["close"], _histogram_weights(fast, slow, signal))


@feature("share of -1 to 1", ("close",), lambda n: n)
def channel(rows: Rows, n: int) -> Floats:
    """Place of the price between the lowest (-1) and the highest (1) of n rows (Donchian)."""
    w = windows(rows["close"], n)
    low, high = np.minimum.reduce(w, axis=-1), np.maximum.reduce(w, axis=-1)
    return ratio((w[:, -1] - low) - (high - w[:, -1]), high - low)


def _weighted(close: Floats, weights: Floats) -> Floats:
    # weights that sum to 0 see differences only; taken from the newest price, a constant gives 0
    w = windows(close, len(weights))
    newest = w[:, -1]
    return np.asarray(total((w - newest[:, None]) * weights) / newest)


def _ema_weights(span: int, rows: int) -> Floats:
    weights = (1.0 - 2.0 / (span + 1.0)) ** np.arange(rows - 1.0, -1.0, -1.0)
    return np.asarray(weights / weights.sum())


@lru_cache
def _macd_weights(fast: int, slow: int) -> Floats:
    rows = EMA_SPANS * slow
    return _ema_weights(fast, rows) - _ema_weights(slow, rows)


@lru_cache
def _histogram_weights(fast: int, slow: int, signal: int) -> Floats:
    line = _macd_weights(fast, slow)
    average = _ema_weights(signal, EMA_SPANS * signal)
    padded = np.concatenate([np.zeros(len(average) - 1), line])
    return np.asarray(padded - np.convolve(line, average))
