"""A file of bars, quotes or trades to the columns of a dataset, checked row by row."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from envs.data import bar as bars
from envs.data import check, names, parse
from envs.data.check import Flags, Flaw
from envs.data.dbn import table_of
from envs.data.names import Mark
from envs.data.table import Table
from grid.dataset import FIELDS, Columns, Kind, Quality
from grid.errors import DataError
from grid.instrument import Instrument
from grid.venue import Ints

log = logging.getLogger(__name__)

DEFAULT_QUOTE_QTY: Final = 1_000_000.0  # bid and ask quantity where the file has none


@dataclass(frozen=True)
class Rows:
    """What a file holds.

    Attributes:
        columns: as in `grid.dataset.FIELDS`, sorted by time, on the instrument's ticks.
        quality: what was found and repaired.
        bar: step and price of bars; empty for quotes and trades.
        interval_ns: length of a bar; 0 for quotes and trades.
        absent: fields that the file has not and that hold a default.
        book: by price or by order; empty but for books.
        events: of deltas: as in `grid.dataset.EVENTS` and `DERIVED`.
        note: what else a person should know of where the rows come from.
    """

    columns: Columns
    quality: Quality
    bar: str = ""
    interval_ns: int = 0
    absent: tuple[str, ...] = ()
    book: Literal["", "L2", "L3"] = ""
    events: Columns | None = None
    note: str = ""


def read(
    source: Path,
    instrument: Instrument,
    *,
    kind: Kind,
    bar: str | None = None,
    timestamp: Mark = "close",
    time_format: str | None = None,
    columns: Mapping[str, str] | None = None,
    repair: bool = False,
) -> Rows:
    """Read a CSV or Parquet file, or quotes or trades in DBN.

    Args:
        source: the file.
        instrument: for ticks and precisions.
        kind: what the rows are.
        bar: the name of the bars, as in `1-HOUR-ASK`; without it the length is the most frequent
            difference of time, and the price MID for a currency pair, LAST for all else.
        timestamp: the end of a bar that its timestamp marks; rows hold the close.
        time_format: as for strptime; without it, ISO 8601 or epoch numbers.
        columns: names of columns by field, where they are not the usual ones.
        repair: drop, sort and round what is wrong, and count it, instead of raising; of two bars
            with one time, the first in the file stays.

    Raises:
        DataError: the file is not what it should be; with the place of the first bad row.
    """
    if bar is not None and kind != "bars":
        raise DataError(f"bar {bar}: of use with bars only, found {kind}")
    table = table_of(source, kind)
    chosen = names.match(table.names, kind, timestamp, columns or {}, source)
    try:
        raw = _parsed(table, chosen, kind, time_format)
    except DataError as e:
        raise DataError(f"{source}: {e}") from e
    if not table.rows and not table.misshapen:
        raise DataError(f"{source}: expected {kind}, found no row")
    with np.errstate(all="ignore"):  # numbers that are none, or absurd, are found right here
        gridded = check.on_grid(raw, instrument)
        flaws = [*check.flaws_of_cells(raw, kind), *check.flaws_of_values(gridded, kind)]
        off_tick = check.flaws_of_precision(raw, gridded, instrument)
    _warn_of_lost(source, raw, gridded, instrument)
    kept, counts = gridded, dict[str, int]()
    if repair:
        kept, counts = _repaired(table, gridded, kind, flaws, off_tick)
    else:
        order = check.flaws_of_order(gridded, kind, partial(_same_rows, table))
        refuse(table, chosen, [*flaws, *off_tick, *order])
    read_rows = table.rows + len(table.misshapen)
    if not len(kept["ts_event"]):
        raise DataError(f"{source}: no row of {read_rows} is fit for use: {said(counts)}")
    length_ns, name = (
        _bars(source, kept["ts_event"], instrument, bar) if kind == "bars" else (0, "")
    )
    if timestamp == "open":
        kept["ts_event"] = kept["ts_event"] + length_ns
    limit_ns = check.GAP_INTERVALS * length_ns or check.TICK_GAP_NS
    count, longest = check.gaps(kept["ts_event"], limit_ns)
    quality = Quality(rows_read=read_rows, gaps=count, longest_gaps=longest, **counts)
    absent = tuple(f for f in FIELDS[kind] if f not in chosen)
    return Rows(kept, quality, name, length_ns, absent)


def _warn_of_lost(source: Path, raw: Columns, gridded: Columns, instrument: Instrument) -> None:
    for field in ("volume", "qty", "bid_qty", "ask_qty"):
        lost = int(((raw[field] > 0) & (gridded[field] == 0)).sum()) if field in raw else 0
        if lost:
            log.warning(
                "%s: %s rounds to 0 in %d rows: %s has size_precision %d",
                source,
                field,
                lost,
                instrument.id,
                instrument.size_precision,
            )


def _parsed(
    table: Table, chosen: Mapping[str, tuple[int, ...]], kind: Kind, time_format: str | None
) -> Columns:
    result: Columns = {}
    for field in FIELDS[kind]:
        if field not in chosen:
            default = DEFAULT_QUOTE_QTY if kind == "quotes" else 0.0
            result[field] = check.floats_of(default, table.rows)
            continue
        at = chosen[field]
        column, name = table.columns[at[0]], table.names[at[0]]
        if field == "ts_event":
            whole = parse.join(column, table.columns[at[1]]) if len(at) > 1 else column
            result[field] = parse.times(whole, name, time_format)
        elif field == "side":
            result[field] = parse.sides(column, name)
        else:
            result[field] = parse.numbers(column, name)
    return result


def refuse(table: Table, chosen: Mapping[str, tuple[int, ...]], flaws: list[Flaw]) -> None:
    """Raise `DataError` with place and content of the first row that has a flaw, if any has."""
    found = check.first(flaws)
    for line in table.misshapen[:1]:
        if found is None or line.number < table.number(found[0]):
            raise DataError(
                f"{table.place_of(line.number)}: expected {line.expected} fields, as in the "
                f"header, found {line.found}"
            )
    if found is None:
        return
    row, flaw = found
    cells = [(f, " ".join(table.text(i, row) for i in chosen.get(f, ()))) for f in flaw.fields]
    shown = cells[0][1] if len(cells) == 1 else ", ".join(f"{f} {text}" for f, text in cells)
    raise DataError(f"{table.place(row)}: {flaw.about}: expected {flaw.expected}, found {shown}")


def _repaired(
    table: Table, columns: Columns, kind: Kind, flaws: list[Flaw], off_tick: list[Flaw]
) -> tuple[Columns, dict[str, int]]:
    keep, counted = check.counted(flaws)
    counts = dict(counted)
    counts["unreadable"] = counts.get("unreadable", 0) + len(table.misshapen)
    counts["rounded"] = int((np.logical_or.reduce([f.rows for f in off_tick]) & keep).sum())
    rows = np.flatnonzero(keep)
    counts["out_of_order"] = int(check.late(columns["ts_event"][rows]).sum())
    rows = rows[np.argsort(columns["ts_event"][rows], kind="stable")]
    kept = check.take(columns, rows)
    repeat = check.twice(kept, kind, lambda at: _equal(table, rows[at], rows[at - 1]))
    counts["duplicates"] = int(repeat.sum())
    return check.take(kept, ~repeat), counts


def said(counts: Mapping[str, int]) -> str:
    """Return what was found, in words."""
    return ", ".join(f"{n} {flaw}" for flaw, n in counts.items() if n)


def _same_rows(table: Table, rows: Ints) -> Flags:
    return _equal(table, rows, rows - 1)


def _equal(table: Table, rows: Ints, others: Ints) -> Flags:
    left, right = (
        pa.table(list(table.columns), [str(i) for i in range(len(table.names))]).take(r).to_pylist()
        for r in (rows, others)
    )
    return np.array([a == b for a, b in zip(left, right, strict=True)], np.bool_)


def _bars(source: Path, ts_ns: Ints, instrument: Instrument, bar: str | None) -> tuple[int, str]:
    usual_ns = check.interval(ts_ns)
    try:
        if bar is None:
            return usual_ns, bars.named(usual_ns, instrument)
        length_ns = bars.interval_ns(bar)
    except DataError as e:
        raise DataError(f"{source}: {e}") from e
    if usual_ns and usual_ns != length_ns:
        raise DataError(
            f"{source}: bar {bar} is {length_ns / 1e9:g} s long: rows so far apart expected, "
            f"found {usual_ns / 1e9:g} s between most"
        )
    return length_ns, bar
