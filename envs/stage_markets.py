"""The markets of a stage: what fits together, what orders fill on, and the engine's data of it."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from nautilus_trader.model import InstrumentId
from numpy.typing import NDArray

from envs.engine_data import market_data
from grid.dataset import Dataset
from grid.errors import ConfigError
from grid.instrument import Instrument
from grid.node.books import Book
from grid.node.convert import engine_trades
from grid.venue import Venue


def check_together(instruments: Sequence[Instrument]) -> None:
    """Refuse what cannot be traded together.

    Raises:
        ConfigError: the instruments do not settle in one currency, or stand twice.
    """
    ids = [i.id for i in instruments]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise ConfigError(f"expected one market for each instrument, found {twice[0]} twice")
    currencies = sorted({i.currency for i in instruments})
    if len(currencies) != 1:
        raise ConfigError(f"expected one settlement currency, found {', '.join(currencies)}")


def books_of(instruments: Sequence[Instrument], books: Sequence[Book]) -> dict[str, Book]:
    """Return the book of each venue, which has one for all that is traded there.

    Raises:
        ConfigError: two markets of a venue have books of two kinds.
    """
    found: dict[str, Book] = {}
    for instrument, book in zip(instruments, books, strict=True):
        if found.setdefault(instrument.venue, book) != book:
            raise ConfigError(
                f"venue {instrument.venue}: expected one kind of book for all its markets, found "
                f"{found[instrument.venue]} and {book}"
            )
    return found


def split(markets: Sequence[Dataset]) -> tuple[list[Dataset], dict[str, Dataset]]:
    """Return what orders fill on, and by instrument id the trades that stand beside quotes."""
    quoted = {m.manifest.instrument.id for m in markets if m.manifest.kind == "quotes"}
    prints = {
        m.manifest.instrument.id: m
        for m in markets
        if m.manifest.kind == "trades" and m.manifest.instrument.id in quoted
    }
    others = [m for m in markets if prints.get(m.manifest.instrument.id) is not m]
    return others, prints


def at_venue(instrument: Instrument, trader: int | None) -> Instrument:
    """Return an instrument as a trader of several trades it, at a venue of its own."""
    if trader is None:
        return instrument
    name = f"{instrument.symbol}.{instrument.venue}{trader + 1}"
    return msgspec.structs.replace(instrument, id=name)


def engine_rows(
    market: Dataset, copy: Instrument, rows: tuple[int, int], venue: Venue, *, resting: bool
) -> list[Any]:
    """Return the engine's data of a market's half-open range of rows, as a trader's instrument."""
    lo, hi = rows
    manifest = msgspec.structs.replace(market.manifest, instrument=copy)
    columns = {k: v[lo:hi] for k, v in market.columns.items()}
    bars = f"{copy.id}-{manifest.bar}-EXTERNAL" if manifest.bar else ""
    return market_data(
        manifest,
        columns,
        bars,
        venue,
        only_quotes=not resting,
        events=market.events,
    )


def trades_within(prints: Dataset, copy: Instrument, events_ns: NDArray[np.int64]) -> list[Any]:
    """Return the engine's trades of an instrument within the time of its quotes."""
    times_ns = prints.columns["ts_event"]
    lo = int(np.searchsorted(times_ns, events_ns[0], side="left"))
    hi = int(np.searchsorted(times_ns, events_ns[-1], side="right"))
    columns = {k: np.asarray(v[lo:hi]) for k, v in prints.columns.items()}
    precisions = (copy.price_precision, copy.size_precision)
    return engine_trades(InstrumentId.from_str(copy.id), columns, precisions)
