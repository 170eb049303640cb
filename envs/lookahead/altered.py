"""A dataset with another future: the same up to a row, everything different after it."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from envs.data.book import ADD, CLEAR, completed, rows_of, standing
from envs.data.step import named
from envs.made_bars import bars_of
from grid.dataset import EVENTS, Columns, Dataset
from grid.instrument import Instrument
from grid.venue import ticks

type Floats = NDArray[np.float64]

_JUMP: Final = 0.05  # log price, right after the row
_WALK: Final = 0.01  # deviation of a row's further move
_TICK_NS: Final = 1_000_000  # in place of a bar, where there are none
_WIDER: Final = 0.02  # highest share by which bars and spreads grow
_WIDER_TICKS: Final = 3  # by which a book's spread grows at most


def altered(
    dataset: Dataset, row: int, direction: int, seed: int, pause_ns: int | None = None
) -> Dataset:
    """Return a copy whose rows after `row` have other times, prices and quantities.

    It is still a market: times rise, prices lie on the tick, high is above low and ask above bid.
    The price jumps in `direction`, 1 or -1, and wanders off; a pause lies before it; bars turn
    their bodies and grow; spreads widen; quantities are others. Deltas are altered beneath their
    rows, which are made anew.

    Args:
        dataset: to copy.
        row: the last that stays.
        direction: of the jump, 1 or -1.
        seed: of all that is random.
        pause_ns: length of the pause, at least a bar; random without it.
    """
    manifest = dataset.manifest
    if manifest.kind == "deltas":
        return _deltas(dataset, row, direction, np.random.default_rng(seed), pause_ns)
    if dataset.ticks is not None:  # what bars are made of is altered, and they are made anew
        closes_ns = dataset.columns["ts_event"]
        times_ns = dataset.ticks.columns["ts_event"]
        last = int(np.searchsorted(times_ns, closes_ns[row], side="right")) - 1
        return bars_of(altered(dataset.ticks, last, direction, seed, pause_ns), manifest.bar)
    columns = {k: np.array(v) for k, v in dataset.columns.items()}
    after = {k: v[row + 1 :] for k, v in columns.items()}  # views: written through
    n = len(after["ts_event"])
    rng = np.random.default_rng(seed)
    drawn_ns = pause_of([dataset], rng)
    after["ts_event"] += drawn_ns if pause_ns is None else pause_ns
    factor = np.exp(direction * _JUMP + np.cumsum(rng.normal(0.0, _WALK, n)))
    alter = {"bars": _bars, "quotes": _quotes, "trades": _trades, "depth": _depth}[manifest.kind]
    alter(after, factor, rng, manifest.instrument)
    return Dataset(dataset.path, manifest, columns)


def pause_of(datasets: Iterable[Dataset], rng: np.random.Generator) -> int:
    """Return a random pause that is not shorter than a bar of any dataset."""
    longest_ns = max(dataset.manifest.interval_ns for dataset in datasets)
    return (longest_ns or _TICK_NS) * int(rng.integers(1, 1000))


def _bars(rows: Columns, factor: Floats, rng: np.random.Generator, instrument: Instrument) -> None:
    opens, closes = rows["close"] * factor, rows["open"] * factor
    high = rows["high"] * factor * (1.0 + rng.uniform(0.0, _WIDER, len(factor)))
    low = rows["low"] * factor * (1.0 - rng.uniform(0.0, _WIDER, len(factor)))
    for name, prices in (("open", opens), ("high", high), ("low", low), ("close", closes)):
        rows[name][:] = _on_tick(prices, instrument)
    rows["volume"][:] = _quantities(rows["volume"], rng, instrument)


def _quotes(
    rows: Columns, factor: Floats, rng: np.random.Generator, instrument: Instrument
) -> None:
    bid = _on_tick(rows["bid_px"] * factor, instrument)
    ask = _on_tick(
        rows["ask_px"] * factor * (1.0 + rng.uniform(0.0, _WIDER, len(factor))), instrument
    )
    rows["bid_px"][:], rows["ask_px"][:] = bid, np.maximum(ask, bid)
    for name in ("bid_qty", "ask_qty"):
        rows[name][:] = _quantities(rows[name], rng, instrument)


def _trades(
    rows: Columns, factor: Floats, rng: np.random.Generator, instrument: Instrument
) -> None:
    rows["price"][:] = _on_tick(rows["price"] * factor, instrument)
    rows["qty"][:] = _quantities(rows["qty"], rng, instrument)
    rows["side"][:] = rng.permutation(rows["side"])


def _depth(rows: Columns, factor: Floats, rng: np.random.Generator, instrument: Instrument) -> None:
    away = np.rint(rows["bid_pxs"][:, 0] * (factor - 1.0) / instrument.tick)
    wider = rng.integers(0, _WIDER_TICKS + 1, len(factor))
    for side, moved in (("bid", away), ("ask", away + wider)):
        px, qty = rows[f"{side}_pxs"], rows[f"{side}_qtys"]
        px[:] = ticks(px + (moved * instrument.tick)[:, None], instrument)
        qty[:] = np.where(qty > 0.0, _quantities(qty, rng, instrument), 0.0)


def _deltas(
    dataset: Dataset,
    row: int,
    direction: int,
    rng: np.random.Generator,
    pause_ns: int | None,
) -> Dataset:
    """The book is cleared after `row` and stands elsewhere, all sizes greater; rows are made anew.

    What follows in the future happens there, later: the rows before must come out as they were.
    """
    manifest, events = dataset.manifest, dataset.events
    kind = manifest.book or "L2"
    instrument, pace = manifest.instrument, named(manifest.bar)
    count = int(dataset.columns["event"][row])
    there = standing(events, count)
    past, book, after = (
        {k: np.array(events[k][part]) for k in EVENTS}
        for part in (slice(count), there, slice(count, None))
    )
    if not len(after["ts_event"]):
        return dataset
    drawn_ns = pause_of([dataset], rng)
    length_ns = pace.interval_ns or 1
    pause_ns = -(-(drawn_ns if pause_ns is None else pause_ns) // length_ns) * length_ns
    after["ts_event"] += pause_ns
    away = np.rint(
        dataset.columns["bid_pxs"][row, 0] * np.expm1(direction * _JUMP) / instrument.tick
    )
    book["action"][:], book["flags"][:] = ADD, 0
    clear = {k: np.zeros(1, v.dtype) for k, v in book.items()}
    clear["action"][:] = CLEAR
    for part in (book, after):
        put = part["action"] != CLEAR
        moved = ticks(part["price"] + away * instrument.tick, instrument)
        part["price"][:] = np.where(put, moved, part["price"])
        part["qty"][:] *= float(rng.integers(2, 5))
    for part in (clear, book):
        part["ts_event"][:] = after["ts_event"][0]
    parts = (past, clear, book, after)
    made = completed({k: np.concatenate([p[k] for p in parts]) for k in EVENTS}, kind)
    rows, one_sided, crossed = rows_of(made, kind, instrument, pace, manifest.levels)
    columns = {k: v[~(one_sided | crossed)] for k, v in rows.items()}
    new = structs.replace(manifest, rows=len(columns["event"]), events=len(made["action"]))
    return Dataset(dataset.path, new, columns, made)


def _on_tick(prices: Floats, instrument: Instrument) -> Floats:
    return np.maximum(ticks(prices, instrument), instrument.tick)


def _quantities(qty: Floats, rng: np.random.Generator, instrument: Instrument) -> Floats:
    scaled = qty * rng.uniform(0.2, 5.0, qty.shape) + instrument.lot
    return np.round(scaled, instrument.size_precision)
