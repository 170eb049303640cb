"""Features of traded volume, and of the side that moves the price.

The side of a trade is inferred by the tick rule (Lee and Ready 1991): a rise is bought, a fall is
sold. A row without a change counts for neither side, since the last change may lie beyond any
finite memory.
"""

import numpy as np

from envs.features.kernel import Floats, Rows, feature, ratio, total, windows
from envs.features.price import zscore


@feature("log quantity", ("volume",), lambda: 1)
def log_volume(rows: Rows) -> Floats:
    """Log of 1 plus the volume."""
    return np.asarray(np.log1p(rows["volume"]))


@feature("standard deviations", ("volume",), lambda n: n)
def volume_zscore(rows: Rows, n: int) -> Floats:
    """Distance of log volume from its mean over n rows, in standard deviations."""
    return zscore({"close": log_volume(rows)}, n)


@feature("share of -1 to 1", ("close", "volume"), lambda n: n + 1)
def volume_imbalance(rows: Rows, n: int) -> Floats:
    """Volume bought less volume sold over n rows, by the tick rule, over all of it."""
    volume = rows["volume"][1:]
    signed = _tick_signs(rows) * volume
    return ratio(total(windows(signed, n)), total(windows(volume, n)))


@feature("share of -1 to 1", ("close",), lambda n: n + 1)
def tick_imbalance(rows: Rows, n: int) -> Floats:
    """Rises less falls among n changes of the price: trade signs by the tick rule."""
    return np.asarray(total(windows(_tick_signs(rows), n)) / n)


@feature("share of price", ("high", "low", "close", "volume"), lambda n: n)
def vwap_distance(rows: Rows, n: int) -> Floats:
    """Distance of the price from the volume-weighted average price of n rows, over the price.

    1 - VWAP / close (Berkowitz, Logue and Noser 1988), a row counted at (high + low + close) / 3.
    """
    close, volume = rows["close"], rows["volume"]
    typical = (rows["high"] + rows["low"] + close) / 3.0
    newest = close[n - 1 :]
    w = windows(volume, n)
    below = total((newest[:, None] - windows(typical, n)) * w)
    return np.asarray(ratio(below, total(w)) / newest)


def _tick_signs(rows: Rows) -> Floats:
    close = rows["close"]
    return np.asarray(np.sign(close[1:] - close[:-1]))
