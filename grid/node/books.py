"""Books between columns and the engine's types: whole windows through Arrow, single rows by hand.

A row of levels goes into the engine as deltas that clear the book and build it anew: live nodes
take no other form, and so the env takes none either.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from nautilus_trader.model import (
    BookAction,
    BookOrder,
    BookType,
    InstrumentId,
    OrderBookDelta,
    OrderBookDeltas,
    OrderSide,
    Price,
    Quantity,
)
from nautilus_trader.persistence import OrderBookDeltaDataWrangler
from numpy.typing import NDArray

from grid import wire
from grid.dataset import LAST, Columns
from grid.instrument import Instrument

type Book = Literal["L1", "L2", "L3"]

BOOKS: Final = {"L1": BookType.L1_MBP, "L2": BookType.L2_MBP, "L3": BookType.L3_MBO}
SNAPSHOT: Final = 32
_ADD: Final = 1
_CLEAR: Final = 4


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


def depth_packets(instrument: Instrument, columns: Columns) -> list[OrderBookDeltas]:
    """Return each row of levels as one datum that builds the book anew.

    Args:
        instrument: whose book it is.
        columns: rows of a dataset of kind `depth` or `deltas`.
    """
    built = engine_deltas(instrument, *_as_events(columns))
    ends = np.cumsum(1 + _present(columns).sum(axis=1)).tolist()
    name = instrument_id(instrument)
    return [OrderBookDeltas(name, built[lo:hi]) for lo, hi in zip([0, *ends], ends, strict=False)]


def depth_packet(instrument: Instrument, depth: wire.Depth) -> OrderBookDeltas:
    """Return one row of the wire in the same form."""
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


def _present(columns: Columns) -> NDArray[np.bool_]:
    return np.concatenate([columns["bid_qtys"], columns["ask_qtys"]], axis=1) > 0.0


def _as_events(columns: Columns) -> tuple[Columns, int, int]:
    rows, levels = columns["bid_pxs"].shape
    clear = np.zeros((rows, 1))
    price = np.concatenate([clear, columns["bid_pxs"], columns["ask_pxs"]], axis=1)
    qty = np.concatenate([clear, columns["bid_qtys"], columns["ask_qtys"]], axis=1)
    action = np.full(price.shape, _ADD, np.uint8)
    action[:, 0] = _CLEAR
    side = np.zeros(price.shape, np.int8)
    side[:, 1 : levels + 1], side[:, levels + 1 :] = 1, -1
    there = np.concatenate([clear == 0.0, _present(columns)], axis=1)
    flags = np.zeros(price.shape, np.uint8)
    flags[:, 0] = SNAPSHOT
    # the last event that is there, of each row
    flags[np.arange(rows), price.shape[1] - 1 - np.argmax(there[:, ::-1], axis=1)] |= LAST
    nothing = np.zeros(price.shape, np.uint64)
    ts = np.broadcast_to(columns["ts_event"][:, None], price.shape)
    events = {
        "ts_event": ts, "action": action, "side": side, "price": price, "qty": qty,
        "order_id": nothing, "flags": flags, "sequence": nothing,
    }  # fmt: skip
    kept = {k: v[there] for k, v in events.items()}
    return kept, 0, len(kept["ts_event"])
