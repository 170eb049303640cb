"""The order book under a list of events: what stands in it at any of them, and its best levels.

What an event put into the book stands there until another event takes it away or changes it. That
event is known once all are: `until`. So the book after any number of events is found without
playing them (`standing`), and an episode may begin anywhere.
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import numpy as np
from nautilus_trader.model import BookLevel, OrderBook, OrderBookDeltas
from numpy.typing import NDArray

from envs.data.step import Step, rows_at
from grid.dataset import EVENTS, LAST, Columns
from grid.instrument import Instrument
from grid.node.books import BOOKS, deltas_packet, engine_deltas, instrument_id
from grid.venue import Floats, Ints, ticks

type Book = Literal["L2", "L3"]
type Flags = NDArray[np.bool_]

ADD: Final = 1
UPDATE: Final = 2
DELETE: Final = 3
CLEAR: Final = 4
_CHUNK_EVENTS: Final = 100_000  # of the engine's objects at a time


class Chains(NamedTuple):
    """Events sorted so that those of one order, or one level, stand together, in order of time.

    Attributes:
        order: int64 [n], numbers of the events.
        first: bool [n], where another order or level begins, or the book was cleared before.
    """

    order: Ints
    first: Flags


def chains(events: Columns, book: Book) -> Chains:
    """Return the events of each order (L3), or of each side and price (L2)."""
    epoch = np.cumsum(events["action"] == CLEAR)
    keys: tuple[NDArray[np.generic], ...] = (epoch,)
    keys += (events["order_id"],) if book == "L3" else (events["side"], events["price"])
    order = np.lexsort(keys[::-1])
    first = np.ones(len(order), np.bool_)
    if len(order):
        first[1:] = np.logical_or.reduce([k[order][1:] != k[order][:-1] for k in keys])
    return Chains(order, first)


def lives(events: Columns, book: Book) -> tuple[Ints, Ints]:
    """Return `until` and `since` of each event, both int64 [n].

    `until` is the event that ends what this one put into the book: n if none does, and the event
    itself if it put nothing. `since` is the event by which the order took its place in the queue:
    an update keeps the place if it keeps the price.
    """
    n = len(events["action"])
    action, price = events["action"], events["price"]
    order, first = chains(events, book)
    clears = np.append(np.flatnonzero(action == CLEAR), n)
    until = clears[np.searchsorted(clears, np.arange(n), side="right")]
    follows = ~first[1:]
    until[order[:-1][follows]] = order[1:][follows]
    nothing = (action == DELETE) | (action == CLEAR)
    until[nothing] = np.flatnonzero(nothing)
    place = first | (action[order] != UPDATE)
    place[1:] |= (price[order][1:] != price[order][:-1]) | nothing[order][:-1]
    begin = np.maximum.accumulate(np.where(place, np.arange(n), 0))
    since = np.empty(n, np.int64)
    since[order] = order[begin]
    return until, since


def known(events: Columns, book: Book) -> Flags:
    """Which events are in their place: of orders, an add only of a new one, all else of a known.

    A level of a book by price may be changed or deleted whether it is there or not.
    """
    n = len(events["action"])
    if book == "L2":
        return np.ones(n, np.bool_)
    order, first = chains(events, book)
    action = events["action"][order]
    at = np.arange(n)
    begin = np.maximum.accumulate(np.where(first, at, 0))
    # whether the order is there after each event: an update leaves that as it was
    decided = np.maximum.accumulate(np.where(first | (action != UPDATE), at, 0))
    alive = np.zeros(n, np.bool_)
    alive[1:] = (action[decided] == ADD)[:-1] & (begin[1:] != at[1:])
    result = np.empty(n, np.bool_)
    result[order] = np.where(action == ADD, ~alive, alive) | (action == CLEAR)
    return result


def completed(events: Columns, book: Book) -> Columns:
    """Return events with the ends of packets, the prices of deletes, and what is derived."""
    ts = events["ts_event"]
    flags = events["flags"].copy()
    if not (flags & LAST).any():
        flags[np.flatnonzero(np.append(ts[1:] != ts[:-1], True))] |= LAST
    events = {**events, "flags": flags}
    if book == "L3":  # an order is deleted where it stands
        order, first = chains(events, book)
        price, side = events["price"][order], events["side"][order]
        gone = (events["action"][order] == DELETE) & ~first
        events["price"], events["side"] = events["price"].copy(), events["side"].copy()
        events["price"][order[gone]] = price[np.flatnonzero(gone) - 1]
        events["side"][order[gone]] = side[np.flatnonzero(gone) - 1]
    until, since = lives(events, book)
    kept = {f: np.ascontiguousarray(events[f], dtype) for f, dtype in EVENTS.items()}
    return {**kept, "until": until, "since": since}


def standing(events: Columns, count: int) -> Ints:
    """Return which of the first `count` events stand in the book after them, in queue order."""
    found = np.flatnonzero(events["until"][:count] >= count)
    return found[np.argsort(events["since"][found], kind="stable")]


def rows_of(
    events: Columns, book: Book, instrument: Instrument, pace: Step, levels: int
) -> tuple[Columns, Flags, Flags]:
    """Return all rows of complete events, and which are one-sided and which are crossed."""
    counts, times = rows_at(events, pace)
    found = best_levels(events, book, instrument, counts, levels)
    one_sided = np.isnan(found["bid_pxs"][:, 0]) | np.isnan(found["ask_pxs"][:, 0])
    crossed = found["bid_pxs"][:, 0] > found["ask_pxs"][:, 0]
    return {"ts_event": times, **found, "event": counts}, one_sided, crossed


def best_levels(
    events: Columns, book: Book, instrument: Instrument, counts: Ints, levels: int
) -> Columns:
    """Return the best levels of the book after so many events each: float64 [rows, levels].

    Levels that the book has not repeat the price before them with quantity 0; a side without any
    has price NaN. Played through the engine's own book, whose view is the truth that orders meet.
    """
    shape = (len(counts), levels)
    px = {side: np.full(shape, np.nan) for side in ("bid", "ask")}
    qty = {side: np.zeros(shape) for side in ("bid", "ask")}
    ours = OrderBook(instrument_id(instrument), BOOKS[book])
    for row, packet in enumerate(_packets(events, instrument, counts)):
        ours.apply_deltas(packet)
        _fill(ours.bids(levels), px["bid"][row], qty["bid"][row])
        _fill(ours.asks(levels), px["ask"][row], qty["ask"][row])
    units = 10.0**instrument.size_precision
    return {
        **{f"{side}_pxs": ticks(values, instrument) for side, values in px.items()},
        **{f"{side}_qtys": np.rint(values * units) / units for side, values in qty.items()},
    }


def _packets(events: Columns, instrument: Instrument, counts: Ints) -> Iterator[OrderBookDeltas]:
    """Yield the events between one row and the next, building the engine's objects in chunks."""
    lo = 0
    built, base = engine_deltas(instrument, events, 0, 0), 0
    for hi in counts.tolist():
        if hi > base + len(built):
            base = lo
            built = engine_deltas(instrument, events, lo, max(hi, lo + _CHUNK_EVENTS))
        yield deltas_packet(instrument, built[lo - base : hi - base])
        lo = hi


def _fill(found: list[BookLevel], px: Floats, qty: Floats) -> None:
    for i, level in enumerate(found):
        px[i] = float(level.price)
        qty[i] = level.size()
    if found:
        px[len(found) :] = px[len(found) - 1]
