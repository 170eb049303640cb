"""A file of book changes to the events of a dataset and the rows made of them, all checked."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from envs.data import book as books
from envs.data import check, names, parse, step
from envs.data.book import ADD, CLEAR, DELETE, UPDATE, Book, Flags
from envs.data.check import Flaw
from envs.data.dbn import table_of
from envs.data.read import Rows, refuse, said
from envs.data.read_depth import MAX_LEVELS
from envs.data.step import Step
from envs.data.table import Table
from grid.dataset import EVENTS, LAST, Columns, Quality, to_iso
from grid.errors import DataError
from grid.instrument import Instrument
from grid.venue import Ints, ticks

log = logging.getLogger(__name__)

EVERY: Final = "100ms"
_RISING: Final = "none earlier than those before it"
_ONE_BY_ONE: Final = "no number left out"
_KNOWN: Final = "an order that is in the book, or a new one that is not"
_COUNTED: Final = 0.9  # of the steps of a sequence are 1, or it does not count this book alone


def read_deltas(
    source: Path,
    instrument: Instrument,
    *,
    book: Book | None = None,
    every: str = EVERY,
    levels: int = MAX_LEVELS,
    time_format: str | None = None,
    columns: Mapping[str, str] | None = None,
    repair: bool = False,
) -> Rows:
    """Read market by order in DBN, or a CSV or Parquet file of deltas, the engine's 1.x included.

    Fields are time, action, side, price and size, and, where the file has them, order_id, flags and
    sequence. Trades and fills are left out, for they change nothing in a book; `envs.data.importer`
    puts the trades of DBN beside it. Without flags, a packet
    ends where the time changes.

    Args:
        source: the file.
        instrument: for ticks and precisions.
        book: by price, `L2`, or by order, `L3`; None to find out from the order ids.
        every: how often there is a row: see `envs.data.step`.
        levels: of a row, a side.
        time_format: as for strptime; without it, ISO 8601 or epoch numbers.
        columns: names of columns by field, where they are not the usual ones.
        repair: drop what is wrong, and count it, instead of raising; rows that are crossed are left
            out, as in an auction.

    Raises:
        DataError: the file is not what it should be; with the place of the first bad row.
    """
    if not 1 <= levels <= MAX_LEVELS:
        raise DataError(f"levels: expected 1 to {MAX_LEVELS}, found {levels}")
    pace = step.parse(every)
    table = table_of(source, "deltas")
    chosen = names.match(table.names, "deltas", "close", columns or {}, source)
    try:
        parsed = _parsed(table, chosen, time_format)
    except DataError as e:
        raise DataError(f"{source}: {e}") from e
    if not table.rows:
        raise DataError(f"{source}: expected deltas, found no row")
    rows, left_out = _changes(parsed)
    raw = check.take(parsed, rows)
    kind = book or ("L3" if _by_order(raw) else "L2")
    with np.errstate(all="ignore"):
        flaws, off_tick, events = _checked(raw, kind, instrument)
    gaps = Flaw("sequence_gaps", _gaps(raw["sequence"]), "sequence", _ONE_BY_ONE, ("sequence",))
    counts: dict[str, int] = {}
    if repair:
        events, counts = _repaired(events, kind, flaws, off_tick)
        counts |= {"sequence_gaps": int(gaps.rows.sum())}
        counts["unreadable"] += len(table.misshapen)
    else:
        late = check.late(events["ts_event"])
        order = Flaw("out_of_order", late, "time", _RISING, ("ts_event",))
        unknown = Flaw("orders_unknown", ~books.known(events, kind), "order", _KNOWN, ("order_id",))
        all_flaws = (*flaws, off_tick, gaps, order)
        refuse(table, chosen, [_placed(f, rows, table.rows) for f in all_flaws])
        refuse(table, chosen, [_placed(unknown, rows, table.rows)])
    read_rows = table.rows + len(table.misshapen)
    if not len(events["ts_event"]):
        raise DataError(f"{source}: no row of {read_rows} is fit for use: {said(counts)}")
    events = books.completed(events, kind)
    kept, left = _rows(source, events, kind, instrument, pace, levels, repair)
    holes, longest = check.gaps(kept["ts_event"], check.TICK_GAP_NS)
    quality = Quality(rows_read=read_rows, gaps=holes, longest_gaps=longest, **{**counts, **left})
    note = f"{left_out:,} trades and fills left out" if left_out else ""
    return Rows(kept, quality, pace.name, book=kind, events=events, note=note)


def _rows(
    source: Path,
    events: Columns,
    book: Book,
    instrument: Instrument,
    pace: Step,
    levels: int,
    repair: bool,
) -> tuple[Columns, dict[str, int]]:
    rows, one_sided, crossed = books.rows_of(events, book, instrument, pace, levels)
    if crossed.any() and not repair:
        at = int(np.argmax(crossed))
        bid, ask = rows["bid_pxs"][at, 0], rows["ask_pxs"][at, 0]
        raise DataError(
            f"{source}: book at {to_iso(int(rows['ts_event'][at]))}: expected bid <= ask, "
            f"found {bid:.10g} and {ask:.10g}; an auction looks so, --repair leaves such rows out"
        )
    keep = ~(one_sided | crossed)
    if not keep.any():
        raise DataError(f"{source}: expected a time at which the book has both sides, found none")
    counts = {"one_sided": int(one_sided.sum()), "crossed": int(crossed.sum())}
    return check.take(rows, keep), counts


def _parsed(
    table: Table, chosen: Mapping[str, tuple[int, ...]], time_format: str | None
) -> Columns:
    result: Columns = {}
    for field, dtype in EVENTS.items():
        if field not in chosen:
            result[field] = np.zeros(table.rows, dtype)
            continue
        at = chosen[field]
        column, name = table.columns[at[0]], table.names[at[0]]
        match field:
            case "ts_event":
                whole = parse.join(column, table.columns[at[1]]) if len(at) > 1 else column
                result[field] = parse.times(whole, name, time_format)
            case "action":
                result[field] = parse.actions(column, name)
            case "side":
                result[field] = parse.book_sides(column, name)
            case "price" | "qty":
                result[field] = parse.numbers(column, name)
            case _:
                result[field] = parse.whole_numbers(column, name)
    return result


def _changes(parsed: Columns) -> tuple[Ints, int]:
    """Return the rows that are not trades or fills, and how many are."""
    other = parsed["action"] == 0
    _hand_on_the_end(parsed, ~other)
    return np.flatnonzero(~other), int(other.sum())


def _hand_on_the_end(events: Columns, keep: Flags) -> None:
    """Let a packet whose last event is dropped end with what is kept of it."""
    kept = np.flatnonzero(keep)
    for at in np.flatnonzero(~keep & (events["flags"] & LAST > 0)).tolist():
        before = int(np.searchsorted(kept, at)) - 1
        if before >= 0 and events["ts_event"][kept[before]] == events["ts_event"][at]:
            events["flags"][kept[before]] |= LAST


def _repaired(
    events: Columns, book: Book, flaws: list[Flaw], off_tick: Flaw
) -> tuple[Columns, dict[str, int]]:
    keep, counted = check.counted(flaws)
    counts = dict(counted)
    counts["rounded"] = int((off_tick.rows & keep).sum())
    _hand_on_the_end(events, keep)
    events = check.take(events, keep)
    counts["out_of_order"] = int(check.late(events["ts_event"]).sum())
    events = check.take(events, np.argsort(events["ts_event"], kind="stable"))
    known = books.known(events, book)
    counts["orders_unknown"] = int((~known).sum())
    _hand_on_the_end(events, known)
    return check.take(events, known), counts


def _by_order(raw: Columns) -> bool:
    """Whether several orders stand at one price: then the ids are of orders, not of prices."""
    if not raw["order_id"].any():
        return False
    put = (raw["action"] == ADD) | (raw["action"] == UPDATE)
    columns = [raw[f][put].astype(np.float64) for f in ("side", "price", "order_id")]
    levels = np.unique(np.column_stack(columns[:2]), axis=0)
    return len(np.unique(np.column_stack(columns), axis=0)) > len(levels)


def _checked(raw: Columns, book: Book, instrument: Instrument) -> tuple[list[Flaw], Flaw, Columns]:
    """Return what cannot be, what is off the tick, and the events on the grid."""
    action, side, price, qty = (raw[f] for f in ("action", "side", "price", "qty"))
    clear, delete = action == CLEAR, action == DELETE
    needs_price = ~clear & ~(delete & (book == "L3"))  # an order is known by its id
    bad_px = needs_price & ~((price > 0) & (price <= check.MAX_PRICE))
    bad_qty = ~clear & ~delete & ~((qty >= 0) & (qty <= check.MAX_QTY))
    bad_qty |= (action == ADD) & (qty == 0) & (book == "L3")
    flaws = [
        Flaw("unreadable", raw["ts_event"] == parse.UNREADABLE, "time", "a time", ("ts_event",)),
        Flaw("unreadable", np.isnan(action), "action", "add, update, delete or clear", ("action",)),
        Flaw("unreadable", needs_price & ~(np.abs(side) == 1), "side", "bid or ask", ("side",)),
        Flaw("bad_prices", bad_px, "price", "a finite price above 0", ("price",)),
        Flaw("bad_prices", bad_qty, "size", "a finite quantity, 0 or more", ("qty",)),
    ]
    rounded = ticks(price, instrument)
    off = needs_price & (np.abs(rounded - price) > check.NOISE * np.abs(price))
    tick = f"{instrument.tick:.{instrument.price_precision}f}"
    expected = f"a multiple of {tick}, the tick of {instrument.id}"
    units = 10.0**instrument.size_precision
    size = np.rint(np.nan_to_num(qty) * units) / units
    gone = (action == UPDATE) | ((action == ADD) & (book == "L2"))
    code = np.nan_to_num(np.where(gone & (size == 0), DELETE, action))
    events = {
        **raw,
        "action": code.astype(np.uint8),
        "side": np.nan_to_num(np.where(clear, 0, side)).astype(np.int8),
        "price": np.where(clear, 0.0, np.nan_to_num(rounded)),
        "qty": np.where(clear | (code == DELETE), 0.0, size),
        "order_id": np.where(clear | (book == "L2"), 0, raw["order_id"]).astype(np.uint64),
        "flags": raw["flags"].astype(np.uint8),
    }
    return flaws, Flaw("rounded", off, "price", expected, ("price",)), events


def _gaps(sequence: Ints) -> Flags:
    """Where a count of the book's messages leaves numbers out; nowhere if it counts more than it.

    A source may count the messages of all its instruments; then most steps are not 1.
    """
    gaps = np.zeros(len(sequence), np.bool_)
    steps = np.diff(sequence.astype(np.int64))
    moves = steps[steps != 0]
    if len(moves) and np.mean(moves == 1) >= _COUNTED:
        gaps[1:] = (steps != 0) & (steps != 1)
    return gaps


def _placed(flaw: Flaw, rows: Ints, count: int) -> Flaw:
    """The same flaw, of rows of the file in place of events."""
    there = np.zeros(count, np.bool_)
    there[rows] = flaw.rows
    return Flaw(flaw.count, there, flaw.about, flaw.expected, flaw.fields)
