"""Bars made of quotes or trades, by the time of the data: as they come, and of whole columns.

A bar holds the ticks with open time < ts_event <= close time, as the engine's own bars do, and
bears its close time, a multiple of its length. Times without a tick make no bar. A bar is known to
be complete when the first tick after its close has come. Both ways give the same bits: quantities
are summed as whole numbers of the instrument's smallest.
"""

import numpy as np
from numpy.typing import NDArray

from grid import wire
from grid.dataset import FIELDS, Columns
from grid.instrument import Instrument

type Tick = wire.Quote | wire.Trade


class BarMaker:
    """Makes bars of ticks, one at a time.

    Args:
        instrument: of the ticks.
        bar: name of the bars, as in `1-MINUTE-MID`; its price is BID, ASK or MID of quotes, or LAST
            of trades.
        interval_ns: length of a bar.
    """

    def __init__(self, instrument: Instrument, bar: str, interval_ns: int) -> None:
        self._id = instrument.id
        self._bar = bar
        self._price = bar.rpartition("-")[2]
        self._interval_ns = interval_ns
        self._units = 10.0**instrument.size_precision
        self._close_ns = 0  # of the open bar; 0 before the first
        self._open = self._high = self._low = self._last = 0.0
        self._volume_units = 0.0

    def push(self, tick: Tick) -> wire.Bar | None:
        """Take the next tick; return the bar that it closes, which it does not belong to."""
        price, units = self._of(tick)
        done = None
        if tick.ts_event_ns > self._close_ns:
            done = self._done(tick.history)
            self._close_ns = close_ns(tick.ts_event_ns, self._interval_ns)
            self._open = self._high = self._low = price
            self._volume_units = 0.0
        self._high = max(self._high, price)
        self._low = min(self._low, price)
        self._last = price
        self._volume_units += units
        return done

    def _done(self, history: bool) -> wire.Bar | None:
        if not self._close_ns:
            return None
        return wire.Bar(
            self._id, self._bar, self._close_ns, self._open, self._high, self._low, self._last,
            self._volume_units / self._units, history,
        )  # fmt: skip

    def _of(self, tick: Tick) -> tuple[float, float]:
        if isinstance(tick, wire.Trade):
            return tick.price, round(tick.qty * self._units)
        if self._price == "BID":
            return tick.bid_px, round(tick.bid_qty * self._units)
        if self._price == "ASK":
            return tick.ask_px, round(tick.ask_qty * self._units)
        units = round(tick.bid_qty * self._units) + round(tick.ask_qty * self._units)
        return (tick.bid_px + tick.ask_px) / 2.0, units / 2.0


def close_ns(ts_ns: int, interval_ns: int) -> int:
    """Return the close time of the bar that a tick at `ts_ns` belongs to."""
    return -(-ts_ns // interval_ns) * interval_ns


def made_of(ticks: Columns, bar: str, interval_ns: int, instrument: Instrument) -> Columns:
    """Return the complete bars of a dataset's quotes or trades, as its columns would be.

    Args:
        ticks: columns of quotes or trades, n rows in order of time.
        bar: as for `BarMaker`, as for the next two.
        interval_ns: length of a bar.
        instrument: of the ticks.
    """
    prices, units = _prices(ticks, bar.rpartition("-")[2], 10.0**instrument.size_precision)
    ts: NDArray[np.int64] = np.asarray(ticks["ts_event"])
    closes_ns = -(-ts // interval_ns) * interval_ns
    starts = np.flatnonzero(np.diff(closes_ns, prepend=-1))
    n = max(0, len(starts) - 1)  # the last one may not be complete
    if not n:
        return {"ts_event": ts[:0], **dict.fromkeys(FIELDS["bars"][1:], np.zeros(0))}
    end = int(starts[-1])
    firsts = starts[:-1]
    return {
        "ts_event": closes_ns[firsts],
        "open": prices[firsts],
        "high": np.maximum.reduceat(prices[:end], firsts),
        "low": np.minimum.reduceat(prices[:end], firsts),
        "close": prices[starts[1:] - 1],
        "volume": np.add.reduceat(units[:end], firsts) / 10.0**instrument.size_precision,
    }


def _prices(
    ticks: Columns, price: str, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    def units(field: str) -> NDArray[np.float64]:
        return np.rint(np.asarray(ticks[field]) * scale)

    if "price" in ticks:
        return np.asarray(ticks["price"]), units("qty")
    if price in ("BID", "ASK"):
        side = price.lower()
        return np.asarray(ticks[f"{side}_px"]), units(f"{side}_qty")
    mid = (np.asarray(ticks["bid_px"]) + np.asarray(ticks["ask_px"])) / 2.0
    return mid, (units("bid_qty") + units("ask_qty")) / 2.0
