"""Books between columns and the engine's types: whole windows through Arrow, single rows by hand.

A row of levels goes into a live node as deltas that clear the book and build it anew, for its
sandbox takes no other form; the env takes the engine's own depth, which leads to the same book.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

from nautilus_trader.model import (
    BookAction,
    BookOrder,
    BookType,
    InstrumentId,
    OrderBookDelta,
    OrderBookDeltas,
    OrderBookDepth,
    OrderSide,
    Price,
    Quantity,
)
from nautilus_trader.persistence import OrderBookDeltaDataWrangler, OrderBookDepthDataWrangler

from grid import wire
from grid.dataset import LAST, Columns
from grid.instrument import Instrument

type Book = Literal["L1", "L2", "L3"]

BOOKS: Final = {"L1": BookType.L1_MBP, "L2": BookType.L2_MBP, "L3": BookType.L3_MBO}
SNAPSHOT: Final = 32


def instrument_id(instrument: Instrument) -> InstrumentId:
    """Return the engine's id of an instrument."""
    return InstrumentId.from_str(instrument.id)


def engine_deltas(
    instrument: Instrument, events: Columns, first: int, last: int
) -> list[OrderBookDelta]:
    """Build the engine's deltas of events [first, last), `ts_init` as `ts_event`.

    A tenth of the time that it takes one by one.
    """
    from grid.node.book_arrow import packed  # starts a thread, and the processes of envs fork

    content = packed(instrument, events, first, last)
    wrangler = OrderBookDeltaDataWrangler(
        instrument.id, instrument.price_precision, instrument.size_precision
    )
    return wrangler.process_record_batch_bytes(content)


def deltas_packet(instrument: Instrument, deltas: Sequence[OrderBookDelta]) -> OrderBookDeltas:
    """Return deltas as one datum, which the engine takes in as a whole."""
    return OrderBookDeltas(instrument_id(instrument), list(deltas))


def engine_depths(instrument: Instrument, columns: Columns) -> list[OrderBookDepth]:
    """Build the engine's depth of each row of levels.

    Args:
        instrument: whose book it is.
        columns: rows of a dataset of kind `depth` or `deltas`.
    """
    from grid.node.book_arrow import packed_levels  # as above

    wrangler = OrderBookDepthDataWrangler(
        instrument.id, instrument.price_precision, instrument.size_precision
    )
    return wrangler.process_record_batch_bytes(packed_levels(instrument, columns))


def depth_packet(instrument: Instrument, depth: wire.Depth) -> OrderBookDeltas:
    """Return one row of the wire as deltas that clear the book and build it anew."""
    name, ts = instrument_id(instrument), depth.ts_event_ns
    price, size = instrument.price_precision, instrument.size_precision
    deltas = [OrderBookDelta.clear(name, 0, ts, ts)]
    for side, pxs, qtys in (
        (OrderSide.BUY, depth.bid_pxs, depth.bid_qtys),
        (OrderSide.SELL, depth.ask_pxs, depth.ask_qtys),
    ):
        for px, qty in zip(pxs, qtys, strict=True):
            if qty > 0.0:
                order = BookOrder(side, Price(px, price), Quantity(qty, size), 0)
                deltas.append(OrderBookDelta(name, BookAction.ADD, order, 0, 0, ts, ts))
    last = deltas[-1]
    deltas[-1] = OrderBookDelta(name, last.action, last.order, LAST, 0, ts, ts)
    return OrderBookDeltas(name, deltas)


def best_of(depth: wire.Depth) -> wire.Quote:
    """Return the quote of a row's best level."""
    return wire.Quote(
        depth.instrument_id, depth.ts_event_ns, depth.bid_pxs[0], depth.ask_pxs[0],
        depth.bid_qtys[0], depth.ask_qtys[0], depth.history,
    )  # fmt: skip


def wire_depth(
    packet: OrderBookDeltas,
    instrument_id: str,
    precisions: tuple[int, int],
    levels: int,
    history: bool = False,
) -> wire.Depth:
    """Return a row of levels as the wire's."""
    price, size = precisions
    sides: dict[Any, tuple[list[float], list[float]]] = {
        OrderSide.BUY: ([], []),
        OrderSide.SELL: ([], []),
    }
    for delta in packet.deltas:
        if delta.is_add:
            order = delta.order
            pxs, qtys = sides[order.side]
            pxs.append(round(float(order.price), price))
            qtys.append(round(float(order.size), size))
    for pxs, qtys in sides.values():
        missing = levels - len(pxs)
        pxs.extend([pxs[-1]] * missing)
        qtys.extend([0.0] * missing)
    (bid_pxs, bid_qtys), (ask_pxs, ask_qtys) = sides[OrderSide.BUY], sides[OrderSide.SELL]
    return wire.Depth(
        instrument_id=instrument_id,
        ts_event_ns=packet.ts_event,
        bid_pxs=tuple(bid_pxs),
        ask_pxs=tuple(ask_pxs),
        bid_qtys=tuple(bid_qtys),
        ask_qtys=tuple(ask_qtys),
        history=history,
    )
