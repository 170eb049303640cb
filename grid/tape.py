"""A dataset as the events that a venue would have sent, one at a time."""

import numpy as np
from numpy.typing import NDArray

from grid import wire
from grid.dataset import FIELDS, LEVELS, Dataset
from grid.errors import DataError
from grid.venue import Venue, quotes_from_opens
from grid.wire import Row


class Tape:
    """The rows `first` to `last` of a dataset, as events counted from 0.

    Bars come each after the quote of its open (see `grid.venue.quotes_from_opens`), two events a
    row; quotes and trades come as they are, and so do rows of a book.

    Attributes:
        rows: rows of the run.
        per_row: events of each row.

    Args:
        dataset: of whatever kind.
        venue: for latency and spread of the quotes that are made from bars.
        first: row of the dataset that the run begins with; rows before it are history.
        last: row after the last.
        bar_ns: length of the bars that a node makes of these ticks, which history is counted in; 0
            where it counts rows.

    Raises:
        DataError: there are no such rows, or the venue's latency is longer than a bar.
    """

    def __init__(
        self, dataset: Dataset, venue: Venue, first: int, last: int, bar_ns: int = 0
    ) -> None:
        m = dataset.manifest
        if not 0 <= first < last <= m.rows:
            raise DataError(f"dataset {m.name}: no rows to play between {first} and {last}")
        if m.kind == "bars" and m.interval_ns <= venue.latency_ns:
            raise DataError(
                f"dataset {m.name}: expected bars longer than the venue's latency of"
                f" {venue.latency_ms:g} ms, found {m.interval_ns / 1e6:g} ms"
            )
        self.rows = last - first
        self.per_row = 2 if m.kind == "bars" else 1
        self._first = first
        self._bar_ns = bar_ns
        self._columns = dataset.columns
        self._kind = m.kind
        self._id = m.instrument.id
        self._bar = m.bar
        self._levels = m.levels
        self._depth_qty = venue.depth_qty
        self._ts: NDArray[np.int64] = dataset.columns["ts_event"][first:last]
        if m.kind == "bars":
            self._open_ts, self._open_bid, self._open_ask = quotes_from_opens(
                self._ts,
                self._columns["open"][first:last],
                m.bar,
                m.interval_ns,
                m.instrument,
                venue,
            )

    def event(self, index: int) -> Row:
        """Return event `index` of the run."""
        row, part = divmod(index, self.per_row)
        if self.per_row == 1 or part == 1:
            return self._row(self._first + row)
        ts, bid, ask = (
            column[row].item() for column in (self._open_ts, self._open_bid, self._open_ask)
        )
        return wire.Quote(self._id, ts, bid, ask, self._depth_qty, self._depth_qty)

    def history(self, row: int, count: int) -> list[Row]:
        """Return up to `count` rows of the dataset before row `row` of the run, oldest first.

        Or the ticks of so many bars, and of the one that the run begins in.
        """
        end = self._first + row
        begin = first_of(self._columns["ts_event"][:end], count, self._bar_ns)
        return [self._row(i, history=True) for i in range(begin, end)]

    def events_until(self, ts_ns: int, count: int = 0) -> int:
        """Return how many events a node has whose last one is of `ts_ns`.

        Args:
            ts_ns: UNIX ns.
            count: how many of that very time it has; 0 for all.
        """
        row = int(np.searchsorted(self._ts, ts_ns, side="right"))
        if self.per_row == 1 and count:
            row = min(row, int(np.searchsorted(self._ts, ts_ns, side="left")) + count)
        if self.per_row == 1 or row == self.rows:
            return row * self.per_row
        return row * 2 + int(self._open_ts[row] <= ts_ns)  # later than the bar before it

    def _row(self, at: int, *, history: bool = False) -> Row:
        if self._levels:
            ts = self._columns["ts_event"][at].item()
            bids, asks, bid_qtys, ask_qtys = (tuple(self._columns[f][at].tolist()) for f in LEVELS)
            return wire.Depth(self._id, ts, bids, asks, bid_qtys, ask_qtys, history)
        ts, *values = (self._columns[f][at].item() for f in FIELDS[self._kind])
        if self._kind == "bars":
            o, h, lo, c, volume = values
            return wire.Bar(self._id, self._bar, ts, o, h, lo, c, volume, history)
        if self._kind == "trades":
            price, qty, side = values
            return wire.Trade(self._id, ts, price, qty, int(side), history)
        bid_px, ask_px, bid_qty, ask_qty = values
        return wire.Quote(self._id, ts, bid_px, ask_px, bid_qty, ask_qty, history)


def first_of(ts_ns: NDArray[np.int64], count: int, bar_ns: int = 0) -> int:
    """Return the index of the first of the last `count` rows, or of the ticks of so many bars.

    Args:
        ts_ns: of the rows, sorted.
        count: rows; or bars, and the one that the last row lies in.
        bar_ns: length of the bars; 0 where rows are counted.
    """
    if not bar_ns or count <= 0:
        return max(0, len(ts_ns) - max(0, count))
    closes = -(-np.asarray(ts_ns) // bar_ns)
    starts = np.flatnonzero(np.diff(closes, prepend=-1))
    return int(starts[-(count + 1) :][0]) if len(starts) else 0
