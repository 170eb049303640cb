"""A dataset with another future: the same up to a row, everything different after it."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from grid.dataset import Columns, Dataset
from grid.instrument import Instrument
from grid.venue import ticks

type Floats = NDArray[np.float64]

_JUMP: Final = 0.05  # log price, right after the row
_WALK: Final = 0.01  # deviation of a row's further move
_TICK_NS: Final = 1_000_000  # in place of a bar, where there are none
_WIDER: Final = 0.02  # highest share by which bars and spreads grow


def altered(
    dataset: Dataset, row: int, direction: int, seed: int, pause_ns: int | None = None
) -> Dataset:
    """Return a copy whose rows after `row` have other times, prices and quantities.

    It is still a market: times rise, prices lie on the tick, high is above low and ask above bid.
    The price jumps in `direction`, 1 or -1, and wanders off; a pause lies before it; bars turn
    their bodies and grow; spreads widen; quantities are others.

    Args:
        dataset: to copy.
        row: the last that stays.
        direction: of the jump, 1 or -1.
        seed: of all that is random.
        pause_ns: length of the pause, at least a bar; random without it.
    """
    manifest = dataset.manifest
    columns = {k: np.array(v) for k, v in dataset.columns.items()}
    after = {k: v[row + 1 :] for k, v in columns.items()}  # views: written through
    n = len(after["ts_event"])
    rng = np.random.default_rng(seed)
    drawn_ns = pause_of([dataset], rng)
    after["ts_event"] += drawn_ns if pause_ns is None else pause_ns
    factor = np.exp(direction * _JUMP + np.cumsum(rng.normal(0.0, _WALK, n)))
    alter = {"bars": _bars, "quotes": _quotes, "trades": _trades}[manifest.kind]
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


def _on_tick(prices: Floats, instrument: Instrument) -> Floats:
    return np.maximum(ticks(prices, instrument), instrument.tick)


def _quantities(qty: Floats, rng: np.random.Generator, instrument: Instrument) -> Floats:
    scaled = qty * rng.uniform(0.2, 5.0, len(qty)) + instrument.lot
    return np.round(scaled, instrument.size_precision)
