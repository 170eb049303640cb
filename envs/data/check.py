"""What may be wrong with rows: found, named at the first, or repaired and counted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from envs.data.parse import UNREADABLE
from grid.dataset import FIELDS, Columns, Gap, Kind
from grid.instrument import Instrument
from grid.venue import Floats, Ints, ticks

type Flags = NDArray[np.bool_]

NOISE: Final = 1e-9  # relative error of a price that is still the same price
MAX_PRICE: Final = 1e13  # near the ends of what the engine can represent
MAX_QTY: Final = 3e13
GAP_INTERVALS: Final = 5  # bars: a longer hole is a gap
TICK_GAP_NS: Final = 300 * 10**9  # quotes and trades: a longer hole is a gap
LONGEST_GAPS: Final = 10

_PRICES: Final = frozenset({"open", "high", "low", "close", "bid_px", "ask_px", "price"})


@dataclass(frozen=True)
class Flaw:
    """One kind of fault.

    Attributes:
        count: the field of `grid.dataset.Quality` that counts it.
        rows: bool [n], the rows that have it.
        about: what is at fault.
        expected: what should stand there.
        fields: the fields whose content tells what was found.
    """

    count: str
    rows: Flags
    about: str
    expected: str
    fields: tuple[str, ...]


def on_grid(columns: Columns, instrument: Instrument) -> Columns:
    """Return the columns with prices on the instrument's ticks and quantities on its precision.

    They are the doubles nearest to their decimal form; what is not finite stays so.
    """
    units = 10.0**instrument.size_precision
    result = dict(columns)
    for field, values in columns.items():
        if field in _PRICES:
            result[field] = ticks(values, instrument)
        elif field not in ("ts_event", "side"):
            result[field] = np.rint(values * units) / units
    return result


def flaws_of_cells(raw: Columns, kind: Kind) -> list[Flaw]:
    """Return what could not be read: times, numbers, sides."""
    flaws = [
        Flaw("unreadable", raw["ts_event"] == UNREADABLE, "time", "a time", ("ts_event",)),
    ]
    for field in FIELDS[kind][1:]:
        expected = "buy, sell or none" if field == "side" else "a number"
        flaws.append(Flaw("unreadable", np.isnan(raw[field]), field, expected, (field,)))
    return flaws


def flaws_of_values(columns: Columns, kind: Kind) -> list[Flaw]:
    """Return rows whose values cannot be, of columns that are on the grid."""
    flaws = []
    for field in FIELDS[kind][1:]:
        values = columns[field]
        if field in _PRICES:
            bad, expected = ~((values > 0) & (values <= MAX_PRICE)), "a finite price above 0"
        elif field == "qty":
            bad, expected = ~((values > 0) & (values <= MAX_QTY)), "a finite quantity above 0"
        elif field != "side":
            bad, expected = ~((values >= 0) & (values <= MAX_QTY)), "a finite quantity, 0 or more"
        else:
            continue
        flaws.append(Flaw("bad_prices", bad, field, expected, (field,)))
    if kind == "bars":
        inner = (columns["open"], columns["close"], columns["high"], columns["low"])
        crossed = (columns["high"] < np.maximum.reduce(inner)) | (
            columns["low"] > np.minimum.reduce(inner)
        )
        expected = "open and close between low and high"
        fields = ("open", "high", "low", "close")
        flaws.append(Flaw("crossed", crossed, "bar", expected, fields))
    if kind == "quotes":
        crossed = columns["bid_px"] > columns["ask_px"]
        flaws.append(Flaw("crossed", crossed, "quote", "bid <= ask", ("bid_px", "ask_px")))
    return flaws


def flaws_of_precision(raw: Columns, columns: Columns, instrument: Instrument) -> list[Flaw]:
    """Return rows whose prices are off the tick, by more than noise: the tick is declared wrong."""
    tick = f"{instrument.tick:.{instrument.price_precision}f}"
    return [
        Flaw(
            "rounded",
            np.abs(columns[field] - raw[field]) > NOISE * np.abs(raw[field]),
            field,
            f"a multiple of {tick}, the tick of {instrument.id}",
            (field,),
        )
        for field in raw
        if field in _PRICES
    ]


def flaws_of_order(columns: Columns, kind: Kind, same_rows: Callable[[Ints], Flags]) -> list[Flaw]:
    """Return rows that come too late, or twice.

    A bar occurs twice if two have one time; a quote or trade only if the whole row is the same as
    the one before it, columns that are not imported included.

    Args:
        columns: in the order of the file.
        kind: what the rows are.
        same_rows: for row numbers, whether each row equals the one before it, in all its columns.
    """
    late_rows, repeats = late(columns["ts_event"]), twice(columns, kind, same_rows)
    time = ("ts_event",)
    return [
        Flaw("out_of_order", late_rows, "time", "none earlier than those before it", time),
        Flaw("duplicates", repeats, "row", "no row twice", time),
    ]


def late(ts_ns: Ints) -> Flags:
    """Return bool [n], the rows that are earlier than one before them."""
    result = np.zeros(len(ts_ns), np.bool_)
    result[1:] = ts_ns[1:] < np.maximum.accumulate(ts_ns)[:-1]
    return result


def twice(columns: Columns, kind: Kind, same_rows: Callable[[Ints], Flags]) -> Flags:
    """Return bool [n], the rows that repeat the one before them; see `flaws_of_order`."""
    fields = ("ts_event",) if kind == "bars" else FIELDS[kind]
    repeat = np.zeros(len(columns["ts_event"]), np.bool_)
    repeat[1:] = np.logical_and.reduce([columns[f][1:] == columns[f][:-1] for f in fields])
    if kind != "bars" and repeat.any():
        rows = np.flatnonzero(repeat)
        repeat[rows] = same_rows(rows)
    return repeat


def gaps(ts_ns: Ints, longer_than_ns: int) -> tuple[int, tuple[Gap, ...]]:
    """Return how many holes are longer than that, and the longest of them in order of time."""
    holes = np.diff(ts_ns)
    at = np.flatnonzero(holes > longer_than_ns)
    longest = at[np.argsort(-holes[at], kind="stable")[:LONGEST_GAPS]]
    found = (Gap(int(ts_ns[i]), float(holes[i]) / 1e9) for i in sorted(longest))
    return len(at), tuple(found)


def interval(ts_ns: Ints) -> int:
    """Return the most frequent difference of sorted times, 0 if there are none."""
    differences, counts = np.unique(np.diff(ts_ns), return_counts=True)
    return int(differences[np.argmax(counts)]) if len(counts) else 0


def counted(flaws: list[Flaw]) -> tuple[Flags, Mapping[str, int]]:
    """Return bool [n], the rows without a flaw, and how many fell to each kind, each row once."""
    keep = np.ones(len(flaws[0].rows), np.bool_)
    counts: dict[str, int] = {}
    for flaw in flaws:
        bad = flaw.rows & keep
        counts[flaw.count] = counts.get(flaw.count, 0) + int(bad.sum())
        keep &= ~bad
    return keep, counts


def first(flaws: list[Flaw]) -> tuple[int, Flaw] | None:
    """Return the first row that has a flaw, and the first flaw that it has."""
    found = [(int(np.argmax(flaw.rows)), i) for i, flaw in enumerate(flaws) if flaw.rows.any()]
    if not found:
        return None
    row, i = min(found)
    return row, flaws[i]


def take(columns: Columns, rows: Ints | Flags) -> Columns:
    """Return the columns with those rows only."""
    return {field: values[rows] for field, values in columns.items()}


def floats_of(value: float, rows: int) -> Floats:
    """Return float64 [rows], all `value`."""
    return np.full(rows, value, np.float64)
