"""Rows of a dataset as the engine's data."""

from typing import Any

import numpy as np
from nautilus_trader.model import BarType, InstrumentId

from envs.books import book_data
from grid.dataset import Columns, Manifest
from grid.node.convert import alternate, engine_bars, engine_quotes
from grid.venue import Floats, Venue, quotes_from_opens, quotes_from_trades


def market_data(
    manifest: Manifest,
    columns: Columns,
    bars: str,
    venue: Venue,
    *,
    only_quotes: bool = False,
    events: Columns | None = None,
) -> list[Any]:
    """Return the engine's view of dataset rows: quotes, or each bar after its open's quote.

    Of trades the engine sees the quotes that they make; of a book see `envs.books`.

    Args:
        manifest: of the dataset.
        columns: the rows.
        bars: the engine's name of the bars, as in `EUR/USD.SIM-1-HOUR-ASK-EXTERNAL`.
        venue: for the quotes that are made from bars.
        only_quotes: leave out the bars, but for the last, which carries the time to its close.
        events: of the dataset, if it has any.
    """
    instrument = manifest.instrument
    if manifest.book:
        return book_data(manifest, columns, events, venue)
    precisions = (instrument.price_precision, instrument.size_precision)
    instrument_id = InstrumentId.from_str(instrument.id)
    if manifest.kind == "quotes":
        return list(engine_quotes(instrument_id, columns, precisions))
    if manifest.kind == "trades":
        bid, ask = quotes_from_trades(columns["price"], columns["side"], instrument, venue)
        return list(engine_quotes(instrument_id, _made(columns, bid, ask, venue), precisions))
    ts, bid, ask = quotes_from_opens(
        columns["ts_event"], columns["open"], manifest.bar, manifest.interval_ns, instrument, venue
    )
    opens = _made({"ts_event": ts}, bid, ask, venue)
    quotes = engine_quotes(instrument_id, opens, precisions)
    bar_type = BarType.from_str(bars)
    if only_quotes:
        last = {field: values[-1:] for field, values in columns.items()}
        return [*quotes, *engine_bars(bar_type, last, precisions)]
    return alternate(quotes, engine_bars(bar_type, columns, precisions))


def _made(columns: Columns, bid: Floats, ask: Floats, venue: Venue) -> Columns:
    deep = np.full(len(bid), venue.depth_qty)
    ts = columns["ts_event"]
    return {"ts_event": ts, "bid_px": bid, "ask_px": ask, "bid_qty": deep, "ask_qty": deep}
