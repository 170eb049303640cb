"""Features of trades: who took, how much, how fast."""

import numpy as np

from envs.features.kernel import Floats, Rows, feature, ratio, total, windows


@feature("share of -1 to 1", ("side", "volume"), lambda n: n)
def trade_imbalance(rows: Rows, n: int) -> Floats:
    """Volume that buyers took less volume that sellers took over n trades, over all of it."""
    volume = rows["volume"]
    return ratio(total(windows(rows["side"] * volume, n)), total(windows(volume, n)))


@feature("share of -1 to 1", ("side",), lambda n: n)
def trade_sign(rows: Rows, n: int) -> Floats:
    """Trades that buyers took less trades that sellers took, among n."""
    return np.asarray(total(windows(rows["side"], n)) / n)


@feature("share of price", ("close", "volume"), lambda n: n)
def trade_vwap_distance(rows: Rows, n: int) -> Floats:
    """Distance of the price from the volume-weighted average price of n trades, over the price."""
    close, volume = rows["close"], rows["volume"]
    newest = close[n - 1 :]
    w = windows(volume, n)
    below = total((newest[:, None] - windows(close, n)) * w)
    return np.asarray(ratio(below, total(w)) / newest)


@feature("log trades a second", ("ts_event",), lambda n: n + 1)
def trade_rate(rows: Rows, n: int) -> Floats:
    """Log of 1 plus the trades a second over the time that n took, at least a microsecond."""
    took_ns = rows["ts_event"][n:] - rows["ts_event"][:-n]
    return np.asarray(np.log1p(n * 1e9 / np.maximum(took_ns, 1_000)))
