"""Between the engine's types and ours: the one place.

A price leaves the engine as `round(float, precision)`: the double nearest to its decimal form, the
same that `grid.venue.ticks` gives for a dataset. So a price has equal bits on every path.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from nautilus_trader.model import (
    AggressorSide,
    Bar,
    BarType,
    InstrumentId,
    OrderSide,
    Price,
    Quantity,
    QuoteTick,
    TradeId,
    TradeTick,
)

from grid import wire
from grid.dataset import Columns
from grid.instrument import Instrument
from grid.venue import Venue, quotes_from_trades

_AGGRESSORS: Final[dict[float, Any]] = {
    1.0: AggressorSide.BUY,
    -1.0: AggressorSide.SELL,
    0.0: AggressorSide.NO_AGGRESSOR,
}
SIDES: Final[dict[Any, str]] = {OrderSide.BUY: "BUY", OrderSide.SELL: "SELL"}


def engine_bars(bar_type: BarType, columns: Columns, precisions: tuple[int, int]) -> list[Bar]:
    """Build the engine's bars from columns `open` to `volume` and `ts_event`, in order."""
    price, size = precisions
    return [
        Bar(bar_type, Price(o, price), Price(h, price), Price(lo, price), Price(c, price),
            Quantity(v, size), ts, ts)
        for o, h, lo, c, v, ts in zip(
            columns["open"].tolist(), columns["high"].tolist(), columns["low"].tolist(),
            columns["close"].tolist(), columns["volume"].tolist(), columns["ts_event"].tolist(),
            strict=True,
        )
    ]  # fmt: skip


def engine_quotes(
    instrument_id: InstrumentId, columns: Columns, precisions: tuple[int, int]
) -> list[QuoteTick]:
    """Build the engine's quotes from columns `bid_px` to `ask_qty` and `ts_event`, in order."""
    price, size = precisions
    return [
        QuoteTick(instrument_id, Price(b, price), Price(a, price),
                  Quantity(bq, size), Quantity(aq, size), ts, ts)
        for b, a, bq, aq, ts in zip(
            columns["bid_px"].tolist(), columns["ask_px"].tolist(), columns["bid_qty"].tolist(),
            columns["ask_qty"].tolist(), columns["ts_event"].tolist(), strict=True,
        )
    ]  # fmt: skip


def engine_trades(
    instrument_id: InstrumentId, columns: Columns, precisions: tuple[int, int]
) -> list[TradeTick]:
    """Build the engine's trades from columns `price`, `qty`, `side` and `ts_event`, in order."""
    price, size = precisions
    return [
        TradeTick(instrument_id, Price(px, price), Quantity(qty, size), _AGGRESSORS[side],
                  TradeId(f"T-{n}"), ts, ts)
        for n, (px, qty, side, ts) in enumerate(zip(
            columns["price"].tolist(), columns["qty"].tolist(), columns["side"].tolist(),
            columns["ts_event"].tolist(), strict=True,
        ))
    ]  # fmt: skip


def alternate(quotes: Sequence[QuoteTick], bars: Sequence[Bar]) -> list[QuoteTick | Bar]:
    """Return quote, bar, quote, bar: each bar after the quote of its own open."""
    return [datum for pair in zip(quotes, bars, strict=True) for datum in pair]


def engine_bar(bar: wire.Bar, bar_type: BarType, precisions: tuple[int, int]) -> Bar:
    """Build one engine bar from the wire's."""
    price, size = precisions
    return Bar(
        bar_type, Price(bar.open, price), Price(bar.high, price), Price(bar.low, price),
        Price(bar.close, price), Quantity(bar.volume, size), bar.ts_event_ns, bar.ts_event_ns,
    )  # fmt: skip


def engine_quote(
    quote: wire.Quote, instrument_id: InstrumentId, precisions: tuple[int, int]
) -> QuoteTick:
    """Build one engine quote from the wire's."""
    price, size = precisions
    return QuoteTick(
        instrument_id, Price(quote.bid_px, price), Price(quote.ask_px, price),
        Quantity(quote.bid_qty, size), Quantity(quote.ask_qty, size),
        quote.ts_event_ns, quote.ts_event_ns,
    )  # fmt: skip


def quote_of(trade: wire.Trade, instrument: Instrument, venue: Venue) -> wire.Quote:
    """Return the quote that a trade makes: see `grid.venue.quotes_from_trades`."""
    price, side = np.array([trade.price]), np.array([float(trade.side)])
    bid, ask = quotes_from_trades(price, side, instrument, venue)
    return wire.Quote(
        trade.instrument_id, trade.ts_event_ns, bid.item(), ask.item(),
        venue.depth_qty, venue.depth_qty, trade.history,
    )  # fmt: skip


def wire_bar(
    bar: Bar, instrument_id: str, name: str, precisions: tuple[int, int], history: bool = False
) -> wire.Bar:
    """Return an engine bar as the wire's; `name` is its step and price, as in `1-HOUR-ASK`."""
    price, size = precisions
    return wire.Bar(
        instrument_id=instrument_id,
        bar=name,
        ts_event_ns=bar.ts_event,
        open=round(float(bar.open), price),
        high=round(float(bar.high), price),
        low=round(float(bar.low), price),
        close=round(float(bar.close), price),
        volume=round(float(bar.volume), size),
        history=history,
    )


def wire_quote(
    quote: QuoteTick, instrument_id: str, precisions: tuple[int, int], history: bool = False
) -> wire.Quote:
    """Return an engine quote as the wire's."""
    price, size = precisions
    return wire.Quote(
        instrument_id=instrument_id,
        ts_event_ns=quote.ts_event,
        bid_px=round(float(quote.bid_price), price),
        ask_px=round(float(quote.ask_price), price),
        bid_qty=round(float(quote.bid_size), size),
        ask_qty=round(float(quote.ask_size), size),
        history=history,
    )
