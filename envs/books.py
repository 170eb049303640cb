"""A window of a book as the engine takes it: the book at its start, then every change.

Orders meet either all that is known of the book, its events, or its rows alone, each of which
builds the book anew. Changes go in packet by packet, so that no order meets half of one. After
each row comes the quote of its best level; nothing fills on it, it tells the risk checks a price.
"""

from itertools import pairwise
from typing import Any, Final

import numpy as np

from envs.data.book import ADD, CLEAR, standing
from grid.dataset import LAST, Columns, Manifest
from grid.instrument import Instrument
from grid.node.books import (
    SNAPSHOT,
    Book,
    deltas_packet,
    engine_deltas,
    engine_depths,
    instrument_id,
)
from grid.node.convert import engine_quotes
from grid.venue import Venue

_CHANGED: Final = ("ts_event", "action", "side", "price", "qty", "order_id", "flags", "sequence")


def book_type(manifest: Manifest, venue: Venue) -> Book:
    """Return which book of a dataset orders meet: L1 where there are only quotes."""
    if not manifest.book:
        return "L1"
    return manifest.book if meets_events(manifest, venue) else "L2"


def meets_events(manifest: Manifest, venue: Venue) -> bool:
    """Whether orders meet every event of the book, and not only its rows."""
    return manifest.kind == "deltas" and venue.book == "events"


def book_data(
    manifest: Manifest, columns: Columns, events: Columns | None, venue: Venue
) -> list[Any]:
    """Return the engine's view of rows of depth, in order.

    Args:
        manifest: of the dataset.
        columns: its rows of the window.
        events: all its events, of deltas.
        venue: says which of the two orders meet.
    """
    instrument = manifest.instrument
    quotes = _quotes(instrument, columns)
    if events is None or not meets_events(manifest, venue):
        rows = engine_depths(instrument, columns)
        pairs = (datum for pair in zip(rows, quotes, strict=True) for datum in pair)
        return [quotes[0], *pairs]  # an order on the first row is checked before its quote comes
    counts = columns["event"]
    first, last = int(counts[0]), int(counts[-1])
    data: list[Any] = [_snapshot(instrument, events, first, int(columns["ts_event"][0])), quotes[0]]
    changes = engine_deltas(instrument, events, first, last)
    ends = first + 1 + np.flatnonzero(np.asarray(events["flags"][first:last]) & LAST)
    rows_of_ends = np.searchsorted(counts, ends, side="left").tolist()
    row = 1
    for (lo, hi), its_row in zip(pairwise([first, *ends.tolist()]), rows_of_ends, strict=True):
        while row < its_row:
            data.append(quotes[row])
            row += 1
        data.append(deltas_packet(instrument, changes[lo - first : hi - first]))
    data.extend(quotes[row:])
    return data


def _snapshot(instrument: Instrument, events: Columns, count: int, ts_ns: int) -> Any:
    """The book after `count` events, as one datum at `ts_ns`."""
    there = standing(events, count)
    book = {k: np.asarray(events[k][there]) for k in _CHANGED}
    book["action"][:] = ADD
    clear = {k: np.zeros(1, v.dtype) for k, v in book.items()}
    clear["action"][:] = CLEAR
    whole = {k: np.concatenate([clear[k], book[k]]) for k in _CHANGED}
    whole["ts_event"][:] = ts_ns
    whole["flags"][:] = SNAPSHOT
    whole["flags"][-1] |= LAST
    return deltas_packet(instrument, engine_deltas(instrument, whole, 0, len(whole["action"])))


def _quotes(instrument: Instrument, columns: Columns) -> list[Any]:
    best = {f[:-1]: columns[f][:, 0] for f in ("bid_pxs", "ask_pxs", "bid_qtys", "ask_qtys")}
    precisions = (instrument.price_precision, instrument.size_precision)
    rows = {"ts_event": columns["ts_event"], **best}
    return engine_quotes(instrument_id(instrument), rows, precisions)
