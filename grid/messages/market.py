"""What a market says: the rows that strategies and agents see."""

from grid.messages.message import Message
from grid.values import Items, Name, Number, Whole


class Bar(Message, frozen=True, tag="bar"):
    """Topic `md.<instrument_id>.bar`: one bar, at its close."""

    instrument_id: Name
    bar: Name  # step and price, as in 1-HOUR-ASK
    ts_event_ns: Whole
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    history: bool = False  # from before the run: for warm-up, nothing is decided on it


class Quote(Message, frozen=True, tag="quote"):
    """Topic `md.<instrument_id>.quote`: best bid and ask."""

    instrument_id: Name
    ts_event_ns: Whole
    bid_px: Number
    ask_px: Number
    bid_qty: Number
    ask_qty: Number
    history: bool = False


class Trade(Message, frozen=True, tag="trade"):
    """A trade between others."""

    instrument_id: Name
    ts_event_ns: Whole
    price: Number
    qty: Number
    side: Whole  # who took: 1 the buyer, -1 the seller, 0 unknown
    history: bool = False


class Depth(Message, frozen=True, tag="depth"):
    """Topic `md.<instrument_id>.depth`: the best levels of a book, best first, as many each."""

    instrument_id: Name
    ts_event_ns: Whole
    bid_pxs: Items[Number]  # a level that the book has not repeats the one before, with qty 0
    ask_pxs: Items[Number]
    bid_qtys: Items[Number]
    ask_qtys: Items[Number]
    history: bool = False


type Row = Bar | Quote | Trade | Depth


def topic_of(row: Row) -> str:
    """Return the topic of a market event, as in `md.EUR/USD.SIM.quote`."""
    return f"md.{row.instrument_id}.{row.__struct_config__.tag}"
