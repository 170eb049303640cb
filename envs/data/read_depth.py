"""A file of book snapshots to the columns of a dataset: one row a time, levels best first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from envs.data import check, names, parse
from envs.data.check import Flags, Flaw
from envs.data.dbn import table_of
from envs.data.read import Rows, refuse, said
from envs.data.table import Column, Table
from grid.dataset import LEVELS, Columns, Quality
from grid.errors import DataError
from grid.instrument import Instrument
from grid.venue import Floats, ticks

MAX_LEVELS: Final = 10
_EMPTY: Final = ("", "nan", "null", "none", "na")


def read_depth(
    source: Path,
    instrument: Instrument,
    *,
    levels: int | None = None,
    time_format: str | None = None,
    columns: Mapping[str, str] | None = None,
    repair: bool = False,
) -> Rows:
    """Read a CSV or Parquet file with columns such as `bid_px_0`, `ask_qty_9`, or mbp-10 in DBN.

    A level is absent where its quantity is 0 or nothing stands; absent levels come last. A row
    without a bid or without an ask is left out and counted.

    Args:
        source: the file.
        instrument: for ticks and precisions.
        levels: how many a side to keep; None for all, up to ten.
        time_format: as for strptime; without it, ISO 8601 or epoch numbers.
        columns: the column of the time, where it has not a usual name.
        repair: drop, sort and round what is wrong, and count it, instead of raising; of two rows
            with one time, the last stays.

    Raises:
        DataError: the file is not what it should be; with the place of the first bad row.
    """
    table = table_of(source, "depth")
    chosen = names.match(table.names, "depth", "close", columns or {}, source)
    at = names.levels(table.names, source)
    count = len(at["bid_pxs"])
    wanted = min(count, MAX_LEVELS) if levels is None else levels
    if not 1 <= wanted <= min(count, MAX_LEVELS):
        raise DataError(f"{source}: levels: expected 1 to {min(count, MAX_LEVELS)}, found {wanted}")
    if not table.rows and not table.misshapen:
        raise DataError(f"{source}: expected depth, found no row")
    try:
        ts = parse.times(_joined(table, chosen["ts_event"]), "time", time_format)
        raw = {f: _matrix(table, columns_of) for f, columns_of in at.items()}
    except DataError as e:
        raise DataError(f"{source}: {e}") from e
    chosen |= {f: tuple(columns_of) for f, columns_of in at.items()}
    with np.errstate(all="ignore"):
        garbage = {f: _garbage(table, columns_of) for f, columns_of in at.items()}
        flaws = [
            Flaw("unreadable", ts == parse.UNREADABLE, "time", "a time", ("ts_event",)),
            *(Flaw("unreadable", g, f, "numbers", (f,)) for f, g in garbage.items()),
            *_flaws_of_sides(raw),
        ]
        gridded, one_sided, off_tick = _on_grid(raw, instrument)
        flaws.append(_crossed(gridded))
        off = Flaw("rounded", off_tick, "book", _tick(instrument), ("bid_pxs", "ask_pxs"))
        late = check.late(ts)
        twice = np.zeros(len(ts), np.bool_)
        twice[:-1] = ts[1:] == ts[:-1]
    if repair:
        keep, counted = check.counted([*flaws, Flaw("one_sided", one_sided, "", "", ())])
        counts = dict(counted)
        counts["unreadable"] += len(table.misshapen)
        counts["rounded"] = int((off_tick & keep).sum())
        rows = np.flatnonzero(keep)
        counts["out_of_order"] = int(check.late(ts[rows]).sum())
        rows = rows[np.argsort(ts[rows], kind="stable")]
        repeat = np.zeros(len(rows), np.bool_)
        repeat[:-1] = ts[rows][1:] == ts[rows][:-1]
        counts["duplicates"] = int(repeat.sum())
        rows = rows[~repeat]
    else:
        order = [
            Flaw("out_of_order", late, "time", "none earlier than those before it", ("ts_event",)),
            Flaw("duplicates", twice, "time", "one row a time", ("ts_event",)),
        ]
        refuse(table, chosen, [*flaws, off, *order])
        counts = {"one_sided": int(one_sided.sum())}
        rows = np.flatnonzero(~one_sided)
    read_rows = table.rows + len(table.misshapen)
    if not len(rows):
        raise DataError(f"{source}: no row of {read_rows} is fit for use: {said(counts)}")
    kept = {f: np.ascontiguousarray(gridded[f][rows, :wanted]) for f in LEVELS}
    kept = {"ts_event": ts[rows], **kept}
    holes, longest = check.gaps(kept["ts_event"], check.TICK_GAP_NS)
    quality = Quality(rows_read=read_rows, gaps=holes, longest_gaps=longest, **counts)
    note = f"{wanted} of {count} levels" if wanted < count else ""
    return Rows(kept, quality, book="L2", note=note)


def _joined(table: Table, at: tuple[int, ...]) -> Column:
    column = table.columns[at[0]]
    return parse.join(column, table.columns[at[1]]) if len(at) > 1 else column


def _matrix(table: Table, at: list[int]) -> Floats:
    return np.stack([parse.numbers(table.columns[i], table.names[i]) for i in at], axis=1)


def _garbage(table: Table, at: list[int]) -> Flags:
    """Rows where something stands that is no number."""
    found = np.zeros(table.rows, np.bool_)
    for i in at if table.is_text else ():
        column = table.columns[i]
        known = pc.is_in(pc.utf8_lower(column), value_set=pa.array(_EMPTY))
        number = np.isfinite(parse.numbers(column, table.names[i]))
        found |= ~number & ~np.asarray(known)
    return found


def _flaws_of_sides(raw: Columns) -> list[Flaw]:
    flaws = []
    for side in ("bid", "ask"):
        px, qty = raw[f"{side}_pxs"], raw[f"{side}_qtys"]
        fields = (f"{side}_pxs", f"{side}_qtys")
        there = np.nan_to_num(qty) > 0
        bad = np.any((qty < 0) | (qty > check.MAX_QTY), axis=1)
        flaws.append(Flaw("bad_prices", bad, f"{side}s", "quantities of 0 or more", fields[1:]))
        bad = np.any(there & ~((px > 0) & (px <= check.MAX_PRICE)), axis=1)
        flaws.append(Flaw("bad_prices", bad, f"{side}s", "finite prices above 0", fields[:1]))
        hole = np.any(there[:, 1:] & ~there[:, :-1], axis=1)
        flaws.append(Flaw("bad_prices", hole, f"{side}s", "no hole between levels", fields))
    return flaws


def _on_grid(raw: Columns, instrument: Instrument) -> tuple[Columns, Flags, Flags]:
    """Return levels on the grid, absent ones filled up, and which rows lack a side or a tick."""
    rows = len(raw["bid_pxs"])
    one_sided, off_tick = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    units = 10.0**instrument.size_precision
    gridded: Columns = {}
    for side in ("bid", "ask"):
        px, qty = raw[f"{side}_pxs"], raw[f"{side}_qtys"]
        there = np.nan_to_num(qty) > 0
        rounded = ticks(px, instrument)
        off = there & (np.abs(rounded - px) > check.NOISE * np.abs(px))
        off_tick |= off.any(axis=1)
        # the last level that is there stands for those that are not
        last = np.maximum.accumulate(np.where(there, np.arange(px.shape[1]), 0), axis=1)
        gridded[f"{side}_pxs"] = np.take_along_axis(rounded, last, axis=1)
        gridded[f"{side}_qtys"] = np.where(there, np.rint(qty * units) / units, 0.0)
        one_sided |= ~there[:, 0]
    return gridded, one_sided, off_tick


def _crossed(levels: Columns) -> Flaw:
    bid, ask = levels["bid_pxs"], levels["ask_pxs"]
    both = (levels["bid_qtys"][:, 1:] > 0, levels["ask_qtys"][:, 1:] > 0)
    wrong = np.any(both[0] & (bid[:, 1:] >= bid[:, :-1]), axis=1)
    wrong |= np.any(both[1] & (ask[:, 1:] <= ask[:, :-1]), axis=1)
    wrong |= (bid[:, 0] > ask[:, 0]) & (levels["bid_qtys"][:, 0] * levels["ask_qtys"][:, 0] > 0)
    expected = "falling bids, rising asks, and best bid <= best ask"
    return Flaw("crossed", wrong, "book", expected, ("bid_pxs", "ask_pxs"))


def _tick(instrument: Instrument) -> str:
    tick = f"{instrument.tick:.{instrument.price_precision}f}"
    return f"multiples of {tick}, the tick of {instrument.id}"
