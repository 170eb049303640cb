"""Datasets in words, for a person at a terminal."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from envs.data.check import GAP_INTERVALS, TICK_GAP_NS
from grid.dataset import FIELDS, Columns, Dataset, Manifest, Quality, names, to_iso
from grid.errors import DataError
from grid.home import Home

FIRST_ROWS: Final = 3
SHOWN_LEVELS: Final = 2

_REPAIRS: Final = {
    "unreadable": "dropped, unreadable",
    "bad_prices": "dropped, price or quantity not possible",
    "crossed": "dropped, crossed",
    "one_sided": "dropped, without bid or ask",
    "orders_unknown": "dropped, of an order that is not there or is there already",
    "sequence_gaps": "times the source's count left numbers out",
    "duplicates": "dropped, twice there",
    "out_of_order": "sorted, out of order",
    "rounded": "rounded to the tick",
}


def describe(dataset: Dataset, *, verify: bool = False) -> str:
    """Return what a dataset is, one fact a line.

    Raises:
        DataError: with `verify`, if its columns do not give its fingerprint.
    """
    m = dataset.manifest
    if verify:
        dataset.verify()
    kind = type(m.instrument).__name__
    tick = f"{m.instrument.tick:.{m.instrument.price_precision}f}"
    lot = f"{m.instrument.lot:.{m.instrument.size_precision}f}"
    facts = [
        ("dataset", m.name),
        ("path", str(dataset.path)),
        ("instrument", f"{m.instrument.id}, {kind}, tick {tick}, lot {lot}"),
        ("kind", f"{m.kind} {m.bar}".strip()),
        ("rows", f"{m.rows:,}"),
        ("range", f"{to_iso(m.start_ns)} to {to_iso(m.end_ns)} UTC"),
        ("fingerprint", m.fingerprint + (", verified" if verify else "")),
        ("source", m.source),
        ("read", f"{m.quality.rows_read:,} rows; {_repairs(m.quality)}"),
        ("gaps", _gaps(m)),
    ]
    if m.book:
        way = {"L2": "by price", "L3": "by order"}[m.book]
        events = f", of {m.events:,} events" if m.events else ""
        facts.insert(4, ("book", f"{m.book}, {way}, rows of {m.levels} levels{events}"))
    if m.interval_ns:
        facts.insert(6, ("interval", _duration(m.interval_ns / 1e9)))
    lines = [f"{name:<12} {text}" for name, text in facts]
    lines += [
        f"{'':<12} {to_iso(g.start_ns)}  {_duration(g.seconds)}" for g in m.quality.longest_gaps
    ]
    return "\n".join([*lines, "", *_head(dataset)])


def table(home: Home) -> str:
    """Return the datasets of a home as a table, or how to get one; a damaged one says so."""
    found = names(home.datasets)
    if not found:
        return f"no dataset in {home.datasets} yet"
    rows = [("name", "kind", "instrument", "rows", "from", "to", "repaired", "fingerprint")]
    damaged = []
    for name in found:
        try:
            m = Dataset.find(home.datasets, name).manifest
        except DataError as e:
            damaged.append(str(e))
            continue
        start, end = to_iso(m.start_ns)[:10], to_iso(m.end_ns)[:10]
        kind, repaired = f"{m.kind} {m.bar}".strip(), f"{_repaired(m.quality):,}"
        count, digest = f"{m.rows:,}", m.fingerprint[:8]
        rows.append((name, kind, m.instrument.id, count, start, end, repaired, digest))
    return "\n".join([*_aligned(rows, right={3, 6}), *damaged])


def _repairs(quality: Quality) -> str:
    done = [f"{n:,} {said}" for f, said in _REPAIRS.items() if (n := getattr(quality, f))]
    return ", ".join(done) or "none needed repair"


def _repaired(quality: Quality) -> int:
    return sum(getattr(quality, field) for field in _REPAIRS)


def _gaps(m: Manifest) -> str:
    limit_s = (GAP_INTERVALS * m.interval_ns or TICK_GAP_NS) / 1e9
    many = f", the {len(m.quality.longest_gaps)} longest:" if m.quality.gaps > 10 else ""
    return f"{m.quality.gaps:,} longer than {_duration(limit_s)}{many}"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length and (unit != "days" or seconds >= 2 * length):
            return f"{seconds / length:.4g} {unit}"
    return f"{seconds:.4g} s"


def _head(dataset: Dataset) -> list[str]:
    columns = _shown(dataset)
    rows: list[tuple[str, ...]] = [tuple(columns)]
    instrument = dataset.manifest.instrument
    for i in range(min(FIRST_ROWS, dataset.manifest.rows)):
        cells = []
        for field, values in columns.items():
            if field == "ts_event":
                cells.append(str(np.datetime64(int(values[i]), "ns")))
                continue
            exact = "qty" in field or field in ("volume", "side")
            decimals = instrument.size_precision if exact else instrument.price_precision
            whole = field in ("side", "event")
            cells.append(f"{float(values[i]):.{0 if whole else decimals}f}")
        rows.append(tuple(cells))
    return _aligned(rows, right=set(range(1, len(columns))))


def _shown(dataset: Dataset) -> Columns:
    """The columns that a person sees: of a book the best two levels."""
    found: Columns = {}
    for field in FIELDS[dataset.manifest.kind]:
        values = dataset.columns[field]
        if values.ndim == 1:
            found[field] = values
            continue
        for level in range(min(SHOWN_LEVELS, values.shape[1])):
            found[f"{field[:-1]}_{level}"] = values[:, level]
    return found


def _aligned(rows: Sequence[Sequence[str]], right: set[int]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
