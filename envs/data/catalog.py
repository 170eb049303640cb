"""Columns to the engine's ParquetDataCatalog, chunk by chunk."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from nautilus_trader import model
from nautilus_trader.persistence import ParquetDataCatalog

from grid.dataset import Columns, Kind
from grid.instrument import Instrument
from grid.node.books import engine_deltas, engine_depths
from grid.node.instruments import bar_type, to_engine
from grid.venue import Ints

CHUNK_ROWS: Final = 100_000  # about 100 MB of the engine's objects

type Progress = Callable[[int, int], None]  # rows written, rows in all

_SIDES: Final = {
    1.0: model.AggressorSide.BUY,
    -1.0: model.AggressorSide.SELL,
    0.0: model.AggressorSide.NO_AGGRESSOR,
}


def write_catalog(
    folder: Path,
    instrument: Instrument,
    kind: Kind,
    bar: str,
    columns: Columns,
    progress: Progress | None = None,
) -> None:
    """Write instrument and rows into a new catalog; `ts_init` is `ts_event`.

    Args:
        folder: the catalog's folder; made here.
        instrument: what is traded.
        kind: what the rows are.
        bar: step and price of bars, as in `1-HOUR-ASK`.
        columns: as in `grid.dataset.FIELDS`, of deltas as in `EVENTS`, sorted by time.
        progress: called after each chunk.
    """
    folder.mkdir()
    catalog = ParquetDataCatalog(str(folder))
    catalog.write_instruments([to_engine(instrument)])
    rows = len(columns["ts_event"])
    for lo, hi in chunks(columns["ts_event"], CHUNK_ROWS):
        if kind == "deltas":
            catalog.write_order_book_deltas(engine_deltas(instrument, columns, lo, hi))
        elif kind == "depth":
            chunk = {field: values[lo:hi] for field, values in columns.items()}
            catalog.write_order_book_depths(engine_depths(instrument, chunk))
        else:
            _write_plain(catalog, instrument, kind, bar, columns, lo, hi)
        if progress:
            progress(hi, rows)


def _write_plain(
    catalog: ParquetDataCatalog,
    instrument: Instrument,
    kind: Kind,
    bar: str,
    columns: Columns,
    lo: int,
    hi: int,
) -> None:
    chunk = {field: values[lo:hi].tolist() for field, values in columns.items()}
    if kind == "bars":
        catalog.write_bars(list(_bars(instrument, bar, chunk)))
    elif kind == "quotes":
        catalog.write_quote_ticks(list(_quotes(instrument, chunk)))
    else:
        catalog.write_trade_ticks(list(_trades(instrument, chunk, lo)))


def chunks(ts_ns: Ints, size: int) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of about `size` rows that never part two rows of one time.

    The catalog refuses files whose times overlap, even in one nanosecond.
    """
    lo = 0
    while lo < len(ts_ns):
        hi = min(lo + size, len(ts_ns))
        hi = int(np.searchsorted(ts_ns, ts_ns[hi - 1], side="right"))
        yield lo, hi
        lo = hi


type _Lists = dict[str, list[float]]


def _bars(instrument: Instrument, bar: str, chunk: _Lists) -> Iterator[model.Bar]:
    kind, p, s = bar_type(instrument.id, bar), instrument.price_precision, instrument.size_precision
    price, size = model.Price, model.Quantity
    fields = ("ts_event", "open", "high", "low", "close", "volume")
    for t, o, h, lo, c, v in zip(*(chunk[f] for f in fields), strict=True):
        ts = int(t)
        yield model.Bar(
            kind, price(o, p), price(h, p), price(lo, p), price(c, p), size(v, s), ts, ts
        )


def _quotes(instrument: Instrument, chunk: _Lists) -> Iterator[model.QuoteTick]:
    iid = model.InstrumentId.from_str(instrument.id)
    p, s = instrument.price_precision, instrument.size_precision
    price, size = model.Price, model.Quantity
    fields = ("ts_event", "bid_px", "ask_px", "bid_qty", "ask_qty")
    for t, bid, ask, bid_qty, ask_qty in zip(*(chunk[f] for f in fields), strict=True):
        ts = int(t)
        yield model.QuoteTick(
            iid, price(bid, p), price(ask, p), size(bid_qty, s), size(ask_qty, s), ts, ts
        )


def _trades(instrument: Instrument, chunk: _Lists, first: int) -> Iterator[model.TradeTick]:
    iid = model.InstrumentId.from_str(instrument.id)
    p, s = instrument.price_precision, instrument.size_precision
    rows = zip(*(chunk[f] for f in ("ts_event", "price", "qty", "side")), strict=True)
    for row, (t, px, qty, side) in enumerate(rows, start=first):
        ts = int(t)
        yield model.TradeTick(
            iid,
            model.Price(px, p),
            model.Quantity(qty, s),
            _SIDES[side],
            model.TradeId(str(row)),
            ts,
            ts,
        )
